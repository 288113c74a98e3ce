"""Constraint: how far each poison is from its base, in whole levels, with no tolerance.

All poisons are measured at once (`distance.py`); the few outside are looked at again, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.overlay.stamp import footprint, train_id
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
from poisonsets.manifests.verification.case import Case
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding

CHANNELS = "RGB"


@check("V301")
def inside_the_ball(case: Case) -> Iterator[Finding]:
    """Every poison is within the declared l-infinity or l2 ball around its base."""
    constraint = case.record.constraint
    if isinstance(constraint, Unconstrained):
        return
    if isinstance(constraint, Linf):
        outside = case.distances.largest > constraint.levels
    else:
        outside = case.distances.squared > constraint.squared_levels
    far = {slot: (row, base) for slot, row, base in case.pairs.only(outside)}
    for slot in case.row_of:
        if case.record.slots.bases[slot] is None:
            yield case.finding("V301", f"no base is named, so {constraint.norm} cannot hold", slot=slot)
        elif slot in far:
            yield from _outside(case, constraint, slot, _delta(case, *far[slot]))


def _delta(case: Case, row: int, base: int) -> NDArray[np.int64]:
    """int64 [H, W, 3]: the difference of one poison from its base, 0 where it is exempt."""
    delta: NDArray[np.int64] = case.images[row].astype(np.int64) - case.base.train.images[base]
    if (trigger := case.exempt) is not None:
        delta[footprint(trigger, delta.shape[0], delta.shape[1], train_id(base))] = 0
    return delta


def _outside(case: Case, constraint: Linf | L2, slot: int, delta: NDArray[np.int64]) -> Iterator[Finding]:
    if isinstance(constraint, Linf):
        moved = np.abs(delta)
        worst = int(moved.max())
        if worst > constraint.levels:
            row, column, channel = (int(i) for i in np.unravel_index(int(moved.argmax()), moved.shape))
            beyond = int((moved > constraint.levels).sum())
            yield case.finding(
                "V301",
                f"pixel (row {row}, column {column}, channel {CHANNELS[channel]}) moved {worst} levels, budget "
                f"{constraint.levels}; {beyond} channel value{'s' if beyond > 1 else ''} beyond it",
                slot=slot,
                remedy="Craft again or declare the larger budget",
            )
    elif (squared := int((delta**2).sum())) > constraint.squared_levels:
        row, column, channel = (int(i) for i in np.unravel_index(int(np.abs(delta).argmax()), delta.shape))
        yield case.finding(
            "V301",
            f"squared distance {squared}, budget {constraint.squared_levels}; farthest at pixel (row {row}, column "
            f"{column}, channel {CHANNELS[channel]}), {int(abs(delta[row, column, channel]))} levels",
            slot=slot,
            remedy="Craft again or declare the larger budget",
        )
