"""Counts the figures of a set, one trial after the other, in memory that does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.records.trial import L2, Linf
from poisonsets.manifests.verification.figures import ACCEPTED_LEVELS, BudgetUse, Figures, decimals, most_used
from poisonsets.manifests.verification.ssim import ssim
from poisonsets.manifests.verification.subjects import CheckedTrial

WORST_KEPT: Final = 12
BATCH: Final = 256


def _histogram() -> NDArray[np.int64]:
    return np.zeros(256, dtype=np.int64)


@dataclass
class Tally:
    """Takes in one trial after the other; `figures` says what they come to."""

    _trials: int = 0
    _poisons: int = 0
    _unknown: int = 0
    _moved: int = 0
    _largest: NDArray[np.int64] = field(default_factory=_histogram)
    _distances: list[float] = field(default_factory=lambda: [np.inf, 0.0, 0.0])  # least, sum, largest
    _alike: list[float] = field(default_factory=lambda: [0.0, np.inf])  # sum, least
    _least_alike: tuple[int, ...] = ()
    _worst: tuple[tuple[float, BudgetUse], ...] = ()
    _beyond: list[int] = field(default_factory=list)

    def add(self, trial: CheckedTrial) -> None:
        """Take in a trial.

        Raises:
            UsageError: its trigger, whose pixels are exempt, does not fit.
            DamagedError: the trigger's picture cannot be read.
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
        self._distances = [
            min(least, float(euclidean.min())),
            total + float(euclidean.sum()),
            max(most, float(euclidean.max())),
        ]
        self._look(trial, everywhere > 0)
        self._rank(trial)

    def figures(self) -> Figures:
        """What all trials so far come to."""
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

    def _look(self, trial: CheckedTrial, moved: NDArray[np.bool_]) -> None:
        """Structural similarity; that of a poison which did not move is 1."""
        pairs, values = trial.pairs, np.ones(len(moved))
        changed = np.flatnonzero(moved)
        for start in range(0, len(changed), BATCH):  # so that no copy is as large as the trial
            some = changed[start : start + BATCH]
            values[some] = ssim(trial.images[pairs.rows[some]], trial.base.train.images[pairs.bases[some]])
        first = int(values.argmin())
        if values[first] < self._alike[1]:
            self._alike[1] = float(values[first])
            self._least_alike = (trial.number, int(pairs.slots[first]))
        self._alike[0] += float(values.sum())

    def _rank(self, trial: CheckedTrial) -> None:
        """Keep the poisons that use most of their budget."""
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
        self._worst = most_used([*self._worst, *new], WORST_KEPT)
