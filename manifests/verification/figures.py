"""Figures of a set: how many poisons moved, how far, and how similar they still look. They judge nothing."""

import math
from dataclasses import dataclass
from typing import Final

ACCEPTED_LEVELS: Final = 9
"""What the published benchmark's checker accepts for a budget of eight (see `checks/compat.py`)."""
BINS: Final = ((0, 0), (1, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, 255))


@dataclass(frozen=True)
class BudgetUse:
    """One poison and the share of its budget that it uses.

    `used` is spelled "USED/BUDGET": the largest move in levels (budget 255 if unconstrained), or with an l2 constraint
    the squared distance.
    """

    trial: int
    slot: int
    used: str


@dataclass(frozen=True)
class Figures:
    """Figures over the poisons of all judged trials; moves and distances leave out exempt pixels, as constraints do.

    Attributes:
        trials, poisons: how many were measured, poisons of unknown base included.
        unknown: poisons of unknown base, which count in no figure below.
        moved: poisons that differ from their base.
        largest: number of poisons by largest move of a channel value, in levels.
        distance: least, mean and largest euclidean distance from the base in levels, decimal; empty if none is known.
        ssim: mean and least structural similarity to the base (`ssim.py`), decimal; empty likewise.
        least_alike: trial and slot of the least similar poison; empty likewise.
        worst: the poisons that use most of their budget; ties by trial and slot.
        trials_beyond: trials with a poison that differs by more than `ACCEPTED_LEVELS` anywhere.
    """

    trials: int
    poisons: int
    unknown: int
    moved: int
    largest: dict[int, int]
    distance: tuple[str, ...]
    ssim: tuple[str, ...]
    least_alike: tuple[int, ...]
    worst: tuple[BudgetUse, ...]
    trials_beyond: tuple[int, ...]

    def rows(self) -> tuple[tuple[str, str], ...]:
        """The figures as (name, value) rows for people."""
        known = self.poisons - self.unknown
        found = [("poisons that differ from their base", f"{self.moved} of {known}")]
        if self.unknown:
            found.append(("poisons of unknown base", str(self.unknown)))
        bins = []
        for low, high in BINS:
            if count := sum(count for move, count in self.largest.items() if low <= move <= high):
                bins.append(f"{low}-{high}: {count}" if low < high else f"{low}: {count}")
        if bins:
            found.append(("poisons by their largest move, in levels", ", ".join(bins)))
        if self.distance:
            found.append(("distance in levels: least, mean, largest", ", ".join(self.distance)))
        if self.ssim:
            mean, least = self.ssim
            place = "trial {} slot {}".format(*self.least_alike)
            found.append(("SSIM to the base: mean, least", f"{mean}, {least} ({place})"))
        return tuple(found)


def decimals(value: float) -> str:
    """Four decimals, truncated so that no figure looks better than it is."""
    return f"{math.floor(value * 10_000 + 1e-3) / 10_000:.4f}"
