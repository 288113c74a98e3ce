"""Stamped poisons: where a set's words say that a trigger is on its poisons, or is not to be seen, so it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger, footprint, stamp, train_id
from poisonsets.manifests.records.trial import Unconstrained
from poisonsets.manifests.verification.case import Case
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding


@check("V302")
def exempt_pixels_are_the_trigger(case: Case) -> Iterator[Finding]:
    """Where a trigger is exempt from the constraint, the pixels under it are exactly the trigger's."""
    trigger = case.exempt
    if trigger is None:
        return
    for slot, row, base in case.pairs:
        wanted, exempt = _worn(case, trigger, base)
        if np.array_equal(case.images[row][exempt], wanted[exempt]):
            continue
        wrong = np.argwhere((case.images[row] != wanted).any(axis=2) & exempt)
        yield case.finding(
            "V302",
            f"pixel (row {wrong[0][0]}, column {wrong[0][1]}) is exempt, but not the trigger's; {len(wrong)} such",
            slot=slot,
            remedy="Stamp the trigger last, or declare a constraint without the exemption",
        )


@check("V303")
def changed_labels_are_stamped_bases(case: Case) -> Iterator[Finding]:
    """With a trigger, changed labels and no constraint, every poison is its base with the trigger on and no more."""
    record, trigger = case.record, case.trial.trigger()
    if trigger is None or record.labels != "adversarial" or not isinstance(record.constraint, Unconstrained):
        return
    for slot, row, base in case.pairs:
        wanted = stamp(case.base.train.images[base], trigger, train_id(base))
        if np.array_equal(case.images[row], wanted):
            continue
        wrong = np.argwhere((case.images[row] != wanted).any(axis=2))
        yield case.finding(
            "V303",
            f"pixel (row {wrong[0][0]}, column {wrong[0][1]}) is not that of train/{base} with the trigger on; "
            f"{len(wrong)} such",
            slot=slot,
            remedy="Stamp the unchanged base, or declare how far poisons may move (255 levels is anything)",
        )


@check("H301")
def triggers_are_hidden(case: Case) -> Iterator[Finding]:
    """Where labels are clean and the constraint exempts no trigger, no poison shows it."""
    record, trigger = case.record, case.trial.trigger()
    if trigger is None or record.labels != "clean" or isinstance(record.constraint, Unconstrained):
        return
    if record.constraint.exempt_trigger:
        return
    visible = []
    for slot, row, base in case.pairs:
        wanted, under = _worn(case, trigger, base)
        worn = np.array_equal(case.images[row][under], wanted[under])
        if worn and not np.array_equal(case.base.train.images[base][under], wanted[under]):
            visible.append(slot)
    if visible:
        message = f"{len(visible)} of {len(record.slots.labels)} poisons show the trigger's own pixels at its place"
        yield case.finding("H301", message, slot=visible[0])


def _worn(case: Case, trigger: Trigger, base: int) -> tuple[Images, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """A base with the trigger on, uint8 [H, W, 3], and the pixels that the trigger may change, bool [H, W]."""
    wanted = stamp(case.base.train.images[base], trigger, train_id(base))
    return wanted, footprint(trigger, wanted.shape[0], wanted.shape[1], train_id(base))
