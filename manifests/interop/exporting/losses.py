"""What an export leaves out: the fields of a set that a format cannot hold, in words."""

from collections.abc import Callable, Sequence
from typing import Final

from poisonsets.manifests.interop.format import Format
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import FileTarget, Trial
from poisonsets.manifests.records.triggers import PatchTrigger
from poisonsets.manifests.sets.reader import PoisonSet

Says = Callable[[Manifest, Trial], bool]


def _patched(manifest: Manifest, trial: Trial) -> bool:
    record = None if trial.trigger is None else manifest.triggers[trial.trigger]
    return isinstance(record, PatchTrigger) and record.mask is None


# What a trial may say besides its poisons and their labels, and whether it does. No format carries the last ones.
FIELDS: Final[dict[str, tuple[str, Says]]] = {
    "bases": ("the bases", lambda _, trial: True),
    "unknown bases": ("that some bases are unknown", lambda _, trial: None in trial.slots.bases),
    "target": (
        "targets with pixels of their own",
        lambda _, trial: any(isinstance(target, FileTarget) for target in trial.targets),
    ),
    "targets": ("all targets but the first", lambda _, trial: len(trial.targets) > 1),
    "patch": ("the trigger (targets have it on)", _patched),
    "adversarial label": (
        "the adversarial label, where it is not the one label of all poisons",
        lambda _, trial: set(trial.slots.labels) != {trial.adversarial_label},
    ),
    "trigger": (
        "the trigger (targets have it on)",
        lambda manifest, trial: trial.trigger is not None and not _patched(manifest, trial),
    ),
    "source classes": (
        "source classes other than the first target's",
        lambda _, trial: bool(set(trial.source_classes) - {target.label for target in trial.targets[:1]}),
    ),
    "lists": ("index lists", lambda _, trial: bool(trial.lists)),
    "objective": ("the objective over time", lambda _, trial: bool(trial.outcome and trial.outcome.objective)),
    "claims": ("the claims on constraint, labels and composition", lambda _, trial: True),
    "attack": ("name, setup, seed, attack, settings and surrogates", lambda _, trial: True),
}


def lost_fields(opened: PoisonSet, numbers: Sequence[int], chosen: Format) -> tuple[str, ...]:
    """What these trials say and the format cannot express, in words."""
    trials = [opened.trial(number).record for number in numbers]
    found = [
        words
        for field, (words, says) in FIELDS.items()
        if field not in chosen.carries and any(says(opened.manifest, trial) for trial in trials)
    ]
    return tuple(dict.fromkeys(found))
