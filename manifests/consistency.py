"""The rules of a manifest that span several of its fields (SPEC.md section 4.11): the first one that is broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from poisonsets.manifests.triggers import pictures_of

if TYPE_CHECKING:
    from poisonsets.manifests.model import Manifest, Trial


def contradiction(manifest: Manifest) -> str | None:
    """What in a manifest contradicts itself, in words, or None."""
    return next(_contradictions(manifest), None)


def _contradictions(manifest: Manifest) -> Iterator[str]:
    numbers = [trial.trial for trial in manifest.trials]
    if numbers != sorted(set(numbers)):
        yield "trials are not in ascending order"
    paths = [file.path for file in manifest.files]
    if paths != sorted(set(paths)):
        yield "files are not in ascending order"
    pictures = {path for trigger in manifest.triggers.values() for path in pictures_of(trigger)}
    if pictures != set(manifest.trigger_pixels):
        yield "trigger_pixels does not name exactly the pictures of the declared triggers"
    for trial in manifest.trials:
        yield from _of_trigger(manifest, trial)
        yield from _of_labels(trial, len(manifest.base.classes))


def _of_trigger(manifest: Manifest, trial: Trial) -> Iterator[str]:
    where = f"trial {trial.trial}"
    trigger = None if trial.trigger is None else manifest.triggers.get(trial.trigger)
    if trial.trigger is not None and trigger is None:
        yield f"{where} names the trigger {trial.trigger}, which is not declared"
    # Only a patch has pixels of its own that a check can ask for; any other exemption would be a budget of 255.
    if getattr(trial.constraint, "exempt_trigger", False) and (trigger is None or trigger.kind != "patch"):
        yield f"{where} exempts a trigger from its constraint, but has none of kind patch"


def _of_labels(trial: Trial, classes: int) -> Iterator[str]:
    largest = {
        "its adversarial label": trial.adversarial_label,
        "a poison's label": max(trial.slots.labels),
        "a target's label": max((target.label for target in trial.targets), default=0),
        "a source class": max(trial.source_classes, default=0),
    }
    for what, label in largest.items():
        if label >= classes:
            yield f"trial {trial.trial}: {what} is {label}, the base has {classes} classes"
