"""Leaks between the splits: images that a victim both trains and is tested on, through no fault of the author."""

from collections.abc import Iterator

from poisonsets.manifests.records.trial import InPlace, SplitTarget, Supplant
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedTrial


@check("H401")
def targets_stand_in_one_split(trial: CheckedTrial) -> Iterator[Finding]:
    """No target has the pixels of a training image of the base that victims keep."""
    for target in trial.record.targets:
        if (
            not isinstance(target, SplitTarget)
            or target.split == "train"
            or target.index >= len(trial.base.test.labels)
        ):
            continue
        for index in trial.checked_set.train_lookup.find(trial.base.test.images[target.index]):
            if _kept(trial, index):
                label = int(trial.base.train.labels[index])
                message = f"target test/{target.index} is also the training image train/{index}, of class {label}"
                yield trial.finding("H401", f"{message}: the base itself has it twice")
                break


@check("H402")
def poisons_are_no_test_images(trial: CheckedTrial) -> Iterator[Finding]:
    """No poison has the pixels of a test image, unless it is its own unchanged base."""
    moved = trial.moved
    found = {
        trial.slot_of[row]: index
        for row, index in trial.checked_set.test_lookup.shared(trial.lookup).items()
        if row in trial.slot_of and moved[trial.slot_of[row]]
    }
    if found:
        slot = min(found)
        message = f"{len(found)} poisons are test images, this one test/{found[slot]}: clean accuracy counts them"
        yield trial.finding("H402", message, slot=slot)


def _kept(trial: CheckedTrial, index: int) -> bool:
    """Whether a training image is in the victim's training set, unchanged."""
    rule = trial.record.composition
    if trial.base.train.labels[index] not in trial.base.victim_classes:
        return False
    if isinstance(rule, Supplant):
        return index not in rule.removed
    return not isinstance(rule, InPlace) or index not in trial.record.slots.bases
