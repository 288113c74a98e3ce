"""The typed model of `manifest.json`, format `poisonset/1` (SPEC.md is its normative text).

Every value is strict, frozen and closed: unknown fields, floats, booleans in the place of integers and integers in
the place of strings are refused. Numbers are integers or decimal strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from poisonsets.manifests import limits
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.fields import FilePath, Index, Name, Sha256, Strict, Text, Title
from poisonsets.manifests.records.origin import AttackRecord, PluginRecord, SetupRecord, SurrogateRecord
from poisonsets.manifests.records.shards import ShardRecord, shard_index
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.records.triggers import TriggerRecord, pictures_of

FORMAT = "poisonset/1"
NOTICE = "Poisoned data for research on defences. Never train a model that people rely on with it."


class FileRecord(Strict):
    """One file of the set."""

    path: FilePath
    bytes: Annotated[int, Field(ge=0, le=limits.FILE_BYTES)]
    sha256: Sha256


class Tool(Strict):
    """The program that wrote the set."""

    name: Name
    version: Name
    commit: Name | None = None


class Manifest(Strict):
    """The whole of `manifest.json`."""

    format: Literal["poisonset/1"] = "poisonset/1"
    notice: Text = NOTICE
    name: Title
    content_digest: Sha256
    checksum: Sha256
    base: BasePin
    setup: SetupRecord
    seed: Index
    attack: AttackRecord
    plugins: tuple[PluginRecord, ...] = ()
    surrogates: tuple[SurrogateRecord, ...] = ()
    triggers: dict[Name, TriggerRecord] = {}
    trigger_pixels: dict[FilePath, Sha256] = {}
    trials: Annotated[tuple[Trial, ...], Field(min_length=1, max_length=limits.TRIALS)]
    shards: Annotated[tuple[ShardRecord, ...], Field(max_length=limits.FILES)]
    files: Annotated[tuple[FileRecord, ...], Field(max_length=limits.FILES)]
    unhashed: tuple[Literal["run.json"]] = ("run.json",)
    tool: Tool
    libraries: dict[Name, Text]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if (found := contradiction(self)) is not None:
            raise ValueError(found)
        return self


def contradiction(manifest: Manifest) -> str | None:
    """What in a manifest contradicts itself, in words, or None."""
    return next(_contradictions(manifest), None)


def _contradictions(manifest: Manifest) -> Iterator[str]:
    numbers = [trial.trial for trial in manifest.trials]
    if numbers != sorted(set(numbers)):
        yield "trials are not in ascending order"
    # An index of several trials a shard is for `unsupported.py` to refuse, by its name.
    if manifest.shards != shard_index(manifest.trials) and all(len(shard.trials) == 1 for shard in manifest.shards):
        yield "shards is not the index of the trials' shards: path, trial and samples of each"
    used = [(plugin.kind, plugin.name) for plugin in manifest.plugins]
    if used != sorted(set(used)):
        yield "plugins are not in ascending order"
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
    for name in (trial.trigger, trial.test_trigger):
        if name is not None and name not in manifest.triggers:
            yield f"{where} names the trigger {name}, which is not declared"
    trigger = manifest.triggers.get(trial.trigger or "")
    # Only a patch has pixels of its own that a check can ask for; any other exemption would be a budget of 255.
    if getattr(trial.constraint, "exempt_trigger", False) and (trigger is None or trigger.kind != "patch"):
        yield f"{where} exempts a trigger from its constraint, but has none of kind patch"


def _of_labels(trial: Trial, classes: int) -> Iterator[str]:
    largest = {
        "its adversarial label": trial.adversarial_label,
        "a poison's label": max(trial.slots.labels),
        "a target's label": max((target.label for target in trial.targets), default=0),
        "a target's adversarial label": max((target.adversarial_label or 0 for target in trial.targets), default=0),
        "a source class": max(trial.source_classes, default=0),
    }
    for what, label in largest.items():
        if label >= classes:
            yield f"trial {trial.trial}: {what} is {label}, the base has {classes} classes"
