"""Constraint: how far each poison is from its base, in whole levels, with no tolerance.

uint8 differences wrap (0 - 250 is 6 there), so everything here is computed in wider integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.checks import Case, check
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import L2, Linf, Unconstrained
from poisonsets.manifests.stamp import footprint

CHANNELS = "RGB"


@check("V301")
def inside_the_ball(case: Case) -> Iterator[Finding]:
    """Every poison is within the declared l-infinity or l2 ball around its base."""
    constraint = case.record.constraint
    if isinstance(constraint, Unconstrained):
        return
    for slot, row in case.row_of.items():
        base = case.record.slots.bases[slot]
        if base is None:
            yield case.violation("V301", f"no base is named, so {constraint.norm} cannot hold", slot=slot)
            continue
        if base >= len(case.base.train.labels):
            continue
        delta = case.images[row].astype(np.int64) - case.base.train.images[base]
        try:
            delta[_exempt(case, f"train/{base}", delta.shape[:2])] = 0
        except UsageError as error:
            yield case.violation("V301", str(error), slot=slot)
            continue
        yield from _outside(case, constraint, slot, delta)


def _exempt(case: Case, image_id: str, side: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool [H, W]: pixels under a trigger that is declared exempt."""
    constraint = case.record.constraint
    trigger = case.trial.trigger()
    if isinstance(constraint, Unconstrained) or not constraint.exempt_trigger or trigger is None:
        return np.zeros(side, dtype=np.bool_)
    return footprint(trigger, side[0], side[1], image_id)


def _outside(case: Case, constraint: Linf | L2, slot: int, delta: NDArray[np.int64]) -> Iterator[Finding]:
    if isinstance(constraint, Linf):
        moved = np.abs(delta)
        worst = int(moved.max())
        if worst > constraint.levels:
            row, column, channel = (int(i) for i in np.unravel_index(int(moved.argmax()), moved.shape))
            beyond = int((moved > constraint.levels).sum())
            yield case.violation(
                "V301",
                f"pixel (row {row}, column {column}, channel {CHANNELS[channel]}) moved {worst} levels, budget "
                f"{constraint.levels}; {beyond} channel value{'s' if beyond > 1 else ''} beyond it",
                slot=slot,
                remedy="Craft again or declare the larger budget",
            )
    elif (squared := int((delta**2).sum())) > constraint.squared_levels:
        row, column, channel = (int(i) for i in np.unravel_index(int(np.abs(delta).argmax()), delta.shape))
        yield case.violation(
            "V301",
            f"squared distance {squared}, budget {constraint.squared_levels}; farthest at pixel (row {row}, column "
            f"{column}, channel {CHANNELS[channel]}), {int(abs(delta[row, column, channel]))} levels",
            slot=slot,
            remedy="Craft again or declare the larger budget",
        )
