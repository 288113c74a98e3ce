"""Figures of a set: how many poisons moved, how far, and how alike they still look; no findings, nothing is judged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ACCEPTED_LEVELS: Final = 9
"""What the published benchmark's checker lets pass for a budget of eight (see `checks/compat.py`)."""
BINS: Final = ((0, 0), (1, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, 255))


@dataclass(frozen=True)
class BudgetUse:
    """One poison and how much of its budget it uses.

    Attributes:
        trial, slot: which.
        used: its largest move in levels, or of an l2 constraint its squared distance; "8/8", in front of the slash,
            the budget behind it (255 where there is none).
    """

    trial: int
    slot: int
    used: str


@dataclass(frozen=True)
class Figures:
    """What the poisons of all judged trials come to; moves and distances leave exempt pixels out, as constraints do.

    Attributes:
        trials, poisons: how many were measured; the latter with those of unknown base.
        unknown: poisons without a base to measure from; they are in none of the figures below.
        moved: poisons that differ from their base.
        largest: for each largest move of a channel value, in levels, how many poisons have it.
        distance: least, mean and largest euclidean distance from the base in levels, decimal; none where none is known.
        ssim: mean and least structural similarity to the base (`ssim.py`), decimal; none likewise.
        least_alike: trial and slot of the least one; none likewise.
        worst: the poisons that use most of their budget, the first ones of equals.
        trials_beyond: the trials in which a poison differs by more than `ACCEPTED_LEVELS` anywhere.
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
        """The figures as a table for people: what, and how much of it."""
        known = self.poisons - self.unknown
        found = [("poisons that differ from their base", f"{self.moved} of {known}")]
        if self.unknown:
            found.append(("poisons of unknown base", str(self.unknown)))
        binned = [(low, high, _between(self.largest, low, high)) for low, high in BINS]
        spelled = ", ".join(f"{_span(low, high)}: {count}" for low, high, count in binned if count)
        if spelled:
            found.append(("poisons by their largest move, in levels", spelled))
        if self.distance:
            found.append(("distance in levels: least, mean, largest", ", ".join(self.distance)))
        if self.ssim:
            mean, least = self.ssim
            place = "trial {} slot {}".format(*self.least_alike)
            found.append(("SSIM to the base: mean, least", f"{mean}, {least} ({place})"))
        return tuple(found)


def decimals(value: float) -> str:
    """Four decimals, cut off and not rounded, so that no figure looks better than it is."""
    return f"{math.floor(value * 10_000 + 1e-3) / 10_000:.4f}"


def _between(counts: dict[int, int], low: int, high: int) -> int:
    return sum(count for move, count in counts.items() if low <= move <= high)


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def most_used(poisons: Iterable[tuple[float, BudgetUse]], count: int) -> tuple[tuple[float, BudgetUse], ...]:
    """The `count` poisons that use most, each with its share of the budget; the first ones of equals."""
    return tuple(sorted(poisons, key=lambda one: (-one[0], one[1].trial, one[1].slot))[:count])
