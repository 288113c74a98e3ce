"""Constraint: how far each poison is from its base, in whole levels, with no tolerance.

uint8 differences wrap (0 - 250 is 6 there), so everything here is computed in wider integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.checks import Case, check
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import L2, Linf, Unconstrained
from poisonsets.manifests.stamp import Trigger, footprint, stamp, train_id

CHANNELS = "RGB"


@check("V301")
def inside_the_ball(case: Case) -> Iterator[Finding]:
    """Every poison is within the declared l-infinity or l2 ball around its base."""
    constraint = case.record.constraint
    if isinstance(constraint, Unconstrained):
        return
    trigger = _exempt(case)
    for slot, row in case.row_of.items():
        base = case.record.slots.bases[slot]
        if base is None:
            yield case.violation("V301", f"no base is named, so {constraint.norm} cannot hold", slot=slot)
            continue
        if base >= len(case.base.train.labels):
            continue
        delta = case.images[row].astype(np.int64) - case.base.train.images[base]
        if trigger is not None:
            delta[footprint(trigger, delta.shape[0], delta.shape[1], train_id(base))] = 0
        yield from _outside(case, constraint, slot, delta)


@check("V302")
def exempt_pixels_are_the_trigger(case: Case) -> Iterator[Finding]:
    """Where a trigger is exempt from the constraint, the pixels under it are exactly the trigger's."""
    trigger = _exempt(case)
    if trigger is None:
        return
    clean = case.base.train.images
    for slot, row in case.row_of.items():
        base = case.record.slots.bases[slot]
        if base is None or base >= len(clean):
            continue
        stamped = stamp(clean[base], trigger, train_id(base))
        exempt = footprint(trigger, stamped.shape[0], stamped.shape[1], train_id(base))
        wrong = np.argwhere((case.images[row] != stamped).any(axis=2) & exempt)
        if len(wrong):
            yield case.violation(
                "V302",
                f"pixel (row {wrong[0][0]}, column {wrong[0][1]}) is exempt, but not the trigger's; {len(wrong)} such",
                slot=slot,
                remedy="Stamp the trigger last, or declare a constraint without the exemption",
            )


def _exempt(case: Case) -> Trigger | None:
    """The trial's trigger, where its pixels are exempt from the constraint."""
    constraint = case.record.constraint
    if isinstance(constraint, Unconstrained) or not constraint.exempt_trigger:
        return None
    return case.trial.trigger()


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
