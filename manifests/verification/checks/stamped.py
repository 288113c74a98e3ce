"""Stamped poisons: they show the trigger where the manifest says so, and hide it where it says so."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger, footprint, stamp, train_id
from poisonsets.manifests.records.trial import Unconstrained
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedTrial, exempts_trigger


@check("V302")
def exempt_pixels_are_the_trigger(trial: CheckedTrial) -> Iterator[Finding]:
    """Where a trigger is exempt from the constraint, the pixels under it are exactly the trigger's."""
    trigger = trial.exempt
    if trigger is None:
        return
    remedy = "Stamp the trigger last, or declare a constraint without the exemption"
    for slot, _, pixel, count in _otherwise_stamped(trial, trigger, everywhere=False):
        yield trial.finding("V302", f"{pixel} is exempt, but not the trigger's; {count} such", slot=slot, remedy=remedy)


@check("V303")
def changed_labels_are_stamped_bases(trial: CheckedTrial) -> Iterator[Finding]:
    """With a trigger, changed labels and no constraint, every poison is its base with the trigger on and no more."""
    record, trigger = trial.record, trial.trigger()
    if trigger is None or record.labels != "adversarial" or not isinstance(record.constraint, Unconstrained):
        return
    remedy = "Stamp the unchanged base, or declare how far poisons may move (255 levels is anything)"
    for slot, base, pixel, count in _otherwise_stamped(trial, trigger, everywhere=True):
        message = f"{pixel} is not that of train/{base} with the trigger on; {count} such"
        yield trial.finding("V303", message, slot=slot, remedy=remedy)


@check("H301")
def triggers_are_hidden(trial: CheckedTrial) -> Iterator[Finding]:
    """Where labels are clean and the constraint exempts no trigger, no poison shows it."""
    record, trigger = trial.record, trial.trigger()
    constrained = not isinstance(record.constraint, Unconstrained) and not exempts_trigger(record)
    if trigger is None or record.labels != "clean" or not constrained:
        return
    visible = []
    for slot, row, base in trial.pairs:
        wanted, under = _stamped_base(trial, trigger, base)
        shown = np.array_equal(trial.images[row][under], wanted[under])
        if shown and not np.array_equal(trial.base.train.images[base][under], wanted[under]):
            visible.append(slot)
    if visible:
        message = f"{len(visible)} of {len(record.slots.labels)} poisons show the trigger's own pixels at its place"
        yield trial.finding("H301", message, slot=visible[0])


def _otherwise_stamped(
    trial: CheckedTrial, trigger: Trigger, *, everywhere: bool
) -> Iterator[tuple[int, int, str, int]]:
    """Slot, base, first wrong pixel and number of wrong pixels of every poison that is not its stamped base.

    `everywhere` compares all pixels, else those that the trigger may change.
    """
    for slot, row, base in trial.pairs:
        wanted, under = _stamped_base(trial, trigger, base)
        wrong = (trial.images[row] != wanted).any(axis=2) & (everywhere | under)
        if count := int(wrong.sum()):
            first_row, first_column = divmod(int(wrong.argmax()), wrong.shape[1])
            yield slot, base, f"pixel (row {first_row}, column {first_column})", count


def _stamped_base(trial: CheckedTrial, trigger: Trigger, base: int) -> tuple[Images, NDArray[np.bool_]]:
    """A base with the trigger on, uint8 [H, W, 3], and the trigger's footprint, bool [H, W]."""
    wanted = stamp(trial.base.train.images[base], trigger, train_id(base))
    return wanted, footprint(trigger, wanted.shape[0], wanted.shape[1], train_id(base))
