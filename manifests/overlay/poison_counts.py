"""How many poisons a trial has, in every unit the field uses, as exact fractions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.overlay.compose import Rule, compose
from poisonsets.manifests.records.trial import Trial

Share = tuple[int, int]


@dataclass(frozen=True)
class PoisonCounts:
    """The poisons of one trial in its composed training set. Shares are (numerator, denominator), not reduced.

    Attributes:
        count: the number of poisons.
        class_share: poisons among the training rows that have one of the poisons' labels.
        set_share: poisons among all training rows.
        effective_rate: poisons that differ from their base in pixels or label among all training rows, the m of
            Truong et al. (2020) over all images; None if it is unknown which do.
    """

    count: int
    class_share: Share
    set_share: Share
    effective_rate: Share | None


def count_poisons(
    labels: NDArray[np.int64],
    trial: Trial,
    rule: Rule,
    classes: Sequence[int],
    images_changed: NDArray[np.bool_] | None = None,
) -> PoisonCounts:
    """Count a trial's poisons, whose named bases exist; arguments and errors as for `compose`.

    `images_changed`, bool [P] by slot, tells which poisons' pixels differ from their base's (unknown bases: True).
    """
    rows = compose(labels, trial, rule, classes)
    count, size = len(trial.slots.labels), len(rows)
    alike = int(np.isin(rows.label, trial.slots.labels).sum())
    effective = None
    if images_changed is not None:
        pairs = zip(trial.slots.bases, trial.slots.labels, strict=True)
        relabelled = np.array([base is None or labels[base] != label for base, label in pairs])
        effective = (int((images_changed | relabelled).sum()), size)
    return PoisonCounts(count, (count, alike), (count, size), effective)


def spans(trials: Iterable[PoisonCounts]) -> dict[str, tuple[str, str]]:
    """Minimum and maximum over the trials of every unit, spelled "a" or "a/b"; unknown units are left out."""
    every = list(trials)
    units = {
        "count": [(one.count, 1) for one in every],
        "class_share": [one.class_share for one in every],
        "set_share": [one.set_share for one in every],
        "effective_rate": [one.effective_rate for one in every if one.effective_rate is not None],
    }
    found = {}
    for name, values in units.items():
        if values:
            ends = (min(values, key=lambda v: Fraction(*v)), max(values, key=lambda v: Fraction(*v)))
            low, high = (str(a) if name == "count" else f"{a}/{b}" for a, b in ends)
            found[name] = (low, high)
    return found
