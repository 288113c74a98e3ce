"""Constraint: how far each poison is from its base, in whole levels, with no tolerance."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.overlay.stamp import footprint, train_id
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedTrial


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
            message, remedy = _excess(constraint, _delta(trial, *far[slot])), "Craft again or declare the larger budget"
            yield trial.finding("V301", message, slot=slot, remedy=remedy)


def _delta(trial: CheckedTrial, row: int, base: int) -> NDArray[np.int64]:
    """Poison minus base, int64 [H, W, 3]; 0 at exempt pixels."""
    delta: NDArray[np.int64] = trial.images[row].astype(np.int64) - trial.base.train.images[base]
    if (trigger := trial.exempt) is not None:
        delta[footprint(trigger, delta.shape[0], delta.shape[1], train_id(base))] = 0
    return delta


def _excess(constraint: Linf | L2, delta: NDArray[np.int64]) -> str:
    """Say by how much a poison breaks its budget, and at which pixel it moved most."""
    moved = np.abs(delta)
    row, column, channel = np.unravel_index(int(moved.argmax()), moved.shape)
    pixel, most = f"pixel (row {row}, column {column}, channel {'RGB'[channel]})", int(moved.max())
    if isinstance(constraint, L2):
        distance = f"squared distance {int((delta**2).sum())}, budget {constraint.squared_levels}"
        return f"{distance}; farthest at {pixel}, {most} levels"
    beyond = int((moved > constraint.levels).sum())
    over = f"{beyond} channel value{'s' if beyond > 1 else ''} beyond it"
    return f"{pixel} moved {most} levels, budget {constraint.levels}; {over}"
