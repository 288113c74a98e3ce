"""Constraint: how far each poison is from its base, in whole levels, with no tolerance.

All poisons are measured at once (`distance.py`); the few outside are looked at again, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.overlay.stamp import footprint, train_id
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedTrial

CHANNELS = "RGB"


@check("V301")
def inside_the_ball(trial: CheckedTrial) -> Iterator[Finding]:
    """Every poison is within the declared l-infinity or l2 ball around its base."""
    constraint = trial.record.constraint
    if isinstance(constraint, Unconstrained):
        return
    if isinstance(constraint, Linf):
        outside = trial.distances.largest > constraint.levels
    else:
        outside = trial.distances.squared > constraint.squared_levels
    far = {slot: (row, base) for slot, row, base in trial.pairs.only(outside)}
    for slot in trial.row_of:
        if trial.record.slots.bases[slot] is None:
            yield trial.finding("V301", f"no base is named, so {constraint.norm} cannot hold", slot=slot)
        elif slot in far:
            yield from _outside(trial, constraint, slot, _delta(trial, *far[slot]))


def _delta(trial: CheckedTrial, row: int, base: int) -> NDArray[np.int64]:
    """int64 [H, W, 3]: the difference of one poison from its base, 0 where it is exempt."""
    delta: NDArray[np.int64] = trial.images[row].astype(np.int64) - trial.base.train.images[base]
    if (trigger := trial.exempt) is not None:
        delta[footprint(trigger, delta.shape[0], delta.shape[1], train_id(base))] = 0
    return delta


def _outside(trial: CheckedTrial, constraint: Linf | L2, slot: int, delta: NDArray[np.int64]) -> Iterator[Finding]:
    if isinstance(constraint, Linf):
        moved = np.abs(delta)
        worst = int(moved.max())
        if worst > constraint.levels:
            row, column, channel = (int(i) for i in np.unravel_index(int(moved.argmax()), moved.shape))
            beyond = int((moved > constraint.levels).sum())
            yield trial.finding(
                "V301",
                f"pixel (row {row}, column {column}, channel {CHANNELS[channel]}) moved {worst} levels, budget "
                f"{constraint.levels}; {beyond} channel value{'s' if beyond > 1 else ''} beyond it",
                slot=slot,
                remedy="Craft again or declare the larger budget",
            )
    elif (squared := int((delta**2).sum())) > constraint.squared_levels:
        row, column, channel = (int(i) for i in np.unravel_index(int(np.abs(delta).argmax()), delta.shape))
        yield trial.finding(
            "V301",
            f"squared distance {squared}, budget {constraint.squared_levels}; farthest at pixel (row {row}, column "
            f"{column}, channel {CHANNELS[channel]}), {int(abs(delta[row, column, channel]))} levels",
            slot=slot,
            remedy="Craft again or declare the larger budget",
        )
