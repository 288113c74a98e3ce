"""Count the figures of a set trial by trial, in constant memory."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.records.trial import L2, Linf
from poisonsets.manifests.verification.figures import ACCEPTED_LEVELS, BudgetUse, Figures, decimals
from poisonsets.manifests.verification.ssim import ssim
from poisonsets.manifests.verification.subjects import CheckedTrial

WORST_KEPT: Final = 12
BATCH: Final = 256


@dataclass
class Tally:
    """Adds up trials; `figures` gives the totals."""

    _trials: int = 0
    _poisons: int = 0
    _unknown: int = 0
    _moved: int = 0
    _largest: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    _distances: list[float] = field(default_factory=lambda: [np.inf, 0.0, 0.0])  # least, sum, largest
    _alike: list[float] = field(default_factory=lambda: [0.0, np.inf])  # sum, least
    _least_alike: tuple[int, ...] = ()
    _worst: tuple[tuple[float, BudgetUse], ...] = ()
    _beyond: list[int] = field(default_factory=list)

    def add(self, trial: CheckedTrial) -> None:
        """Add a trial.

        Raises:
            UsageError, DamagedError: as `CheckedTrial.distances`.
        """
        pairs, distances, everywhere = trial.pairs, trial.distances, trial.everywhere.largest
        self._trials += 1
        self._poisons += len(trial.record.slots.labels)
        self._unknown += len(trial.record.slots.labels) - len(pairs.slots)
        if not len(pairs.slots):
            return
        self._moved += int((everywhere > 0).sum())
        self._largest += np.bincount(distances.largest, minlength=256)
        if int(everywhere.max()) > ACCEPTED_LEVELS:
            self._beyond.append(trial.number)
        euclidean = np.sqrt(distances.squared.astype(np.float64))
        least, total, most = self._distances
        low, high = float(euclidean.min()), float(euclidean.max())
        self._distances = [min(least, low), total + float(euclidean.sum()), max(most, high)]
        self._compare(trial, everywhere > 0)
        self._rank(trial)

    def figures(self) -> Figures:
        """The figures of all trials so far."""
        known = self._poisons - self._unknown
        least, total, most = self._distances
        similar, lowest = self._alike
        return Figures(
            trials=self._trials,
            poisons=self._poisons,
            unknown=self._unknown,
            moved=self._moved,
            largest={int(move): int(self._largest[move]) for move in np.flatnonzero(self._largest)},
            distance=tuple(f"{value:.2f}" for value in (least, total / known, most)) if known else (),
            ssim=(decimals(similar / known), decimals(lowest)) if known else (),
            least_alike=self._least_alike,
            worst=tuple(poison for _, poison in self._worst),
            trials_beyond=tuple(self._beyond),
        )

    def _compare(self, trial: CheckedTrial, moved: NDArray[np.bool_]) -> None:
        """Add structural similarities; that of a poison which did not move is 1."""
        pairs, values = trial.pairs, np.ones(len(moved))
        changed = np.flatnonzero(moved)
        for start in range(0, len(changed), BATCH):  # to avoid a copy as large as the trial
            some = changed[start : start + BATCH]
            values[some] = ssim(trial.images[pairs.rows[some]], trial.base.train.images[pairs.bases[some]])
        first = int(values.argmin())
        if values[first] < self._alike[1]:
            self._alike[1] = float(values[first])
            self._least_alike = (trial.number, int(pairs.slots[first]))
        self._alike[0] += float(values.sum())

    def _rank(self, trial: CheckedTrial) -> None:
        """Keep the `WORST_KEPT` poisons that use most of their budget; ties by trial and slot."""
        constraint, distances = trial.record.constraint, trial.distances
        used: NDArray[np.int64] = distances.largest.astype(np.int64)
        budget = 255
        if isinstance(constraint, Linf):
            budget = constraint.levels
        elif isinstance(constraint, L2):
            used, budget = distances.squared, constraint.squared_levels
        number, slots = trial.number, trial.pairs.slots
        most = np.argsort(-used, kind="stable")[:WORST_KEPT].tolist()
        new = [(used[one] / budget, BudgetUse(number, int(slots[one]), f"{used[one]}/{budget}")) for one in most]
        ranked = sorted([*self._worst, *new], key=lambda one: (-one[0], one[1].trial, one[1].slot))
        self._worst = tuple(ranked[:WORST_KEPT])
