"""Leaks between the splits: what a victim trains on and is judged by at once, where the author is not to blame."""

from __future__ import annotations

from collections.abc import Iterator

from poisonsets.manifests.records.trial import InPlace, SplitTarget, Supplant
from poisonsets.manifests.verification.case import Case
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding


@check("H401")
def targets_stand_in_one_split(case: Case) -> Iterator[Finding]:
    """No target has the pixels of a training image that the base holds too and victims keep."""
    for target in case.record.targets:
        if not isinstance(target, SplitTarget) or target.split == "train":
            continue
        if target.index >= len(case.base.test.labels):
            continue
        for index in case.whole.train.find(case.base.test.images[target.index]):
            if _kept(case, index):
                label = int(case.base.train.labels[index])
                message = f"target test/{target.index} is also the training image train/{index}, of class {label}"
                yield case.finding("H401", f"{message}: the base itself has it twice")
                break


@check("H402")
def poisons_are_no_test_images(case: Case) -> Iterator[Finding]:
    """No poison has the pixels of a test image, unless it is its own unchanged base."""
    moved = case.moved
    found = {
        case.slot_of[row]: index
        for row, index in case.whole.test.shared(case.shown).items()
        if row in case.slot_of and moved[case.slot_of[row]]
    }
    if found:
        slot = min(found)
        message = f"{len(found)} poisons are test images, this one test/{found[slot]}: clean accuracy counts them"
        yield case.finding("H402", message, slot=slot)


def _kept(case: Case, index: int) -> bool:
    """Whether a training image is in the victim's training set as it is."""
    rule = case.record.composition
    if case.base.train.labels[index] not in case.base.victim_classes:
        return False
    if isinstance(rule, Supplant):
        return index not in rule.removed
    return not isinstance(rule, InPlace) or index not in case.record.slots.bases
