"""The convex polytope's coefficients: whole blocks in Gram space beside the published solver, a trial at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from benchmarks.bench import Case
from torch import Tensor

from poisonsets.methods.simplex import nearest_in_hull

TRIALS, POISONS, FEATURES = 100, 25, 256
MEASURED = 10  # trials on the plain side
DIRECTIONS = 12

Ours = TypeVar("Ours")
Plain = TypeVar("Plain")


def compared(
    ours: Callable[[], Ours], plain: Callable[[], Plain], agree: Callable[[Ours, Plain], bool]
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Both sides, the second of which fails where its result does not agree with that of the first before it."""
    last: list[Ours] = []

    def first() -> None:
        last[:] = [ours()]

    def second() -> None:
        found = plain()
        if last and not agree(last[0], found):
            raise RuntimeError("the two sides of a benchmark disagree: their times say nothing")

    return first, second


def cases() -> list[Case]:
    """One case: 100 trials of 25 poisons."""
    features, targets = drawn()

    def agree(ours: Tensor, plain: Tensor) -> bool:
        found, wanted = (_objective(features, targets, one) for one in (ours[:MEASURED], plain))
        return bool((found <= 1.001 * wanted).all())

    ours, plain = compared(
        lambda: nearest_in_hull(features, targets),
        lambda: torch.stack([published(features[i], targets[i]) for i in range(MEASURED)]),
        agree,
    )
    note = (
        f"{TRIALS} trials of {POISONS} poisons, {FEATURES} synthetic features: positive, correlated, {DIRECTIONS} "
        f"directions; plain: projected gradient in feature space on {MEASURED} trials, scaled"
    )
    return [Case("convex-polytope coefficients", ours, plain, "CPU s", 35, note, TRIALS / MEASURED)]


def drawn() -> tuple[Tensor, Tensor]:
    """Features [T, P, D] and targets [T, D]: a common part, two classes a trial, few directions, behind a ReLU."""
    generator = torch.Generator().manual_seed(0)
    common = torch.rand(FEATURES, generator=generator)
    mix = 0.3 * torch.randn(DIRECTIONS, FEATURES, generator=generator)
    classes = 0.5 * torch.randn(TRIALS, 2, DIRECTIONS, generator=generator)
    places = 0.5 * torch.randn(TRIALS, POISONS + 1, DIRECTIONS, generator=generator)
    places += torch.cat([classes[:, :1].expand(-1, POISONS, -1), classes[:, 1:]], dim=1)
    noise = 0.02 * torch.randn(TRIALS, POISONS + 1, FEATURES, generator=generator)
    everything = (common + places @ mix + noise).relu()
    return everything[:, :-1].contiguous(), everything[:, -1].contiguous()


def published(features: Tensor, target: Tensor) -> Tensor:
    """Zhu et al. (2019), float32 [P]: step 2/L, halved when the residual grows, until coefficients move by 1e-6."""
    vector = torch.randn(len(features), generator=torch.Generator().manual_seed(0))
    vector /= vector.norm()
    step = 2 / (features @ (vector @ features)).norm()
    coefficients = torch.full((len(features),), 1 / len(features))
    residual = (coefficients @ features - target).norm()
    for _ in range(10_000):
        moved = coefficients - step * (features @ (coefficients @ features - target))
        grown = (moved @ features - target).norm()
        if grown > residual:
            step = step / 2
            continue
        ordered = moved.sort(descending=True).values
        excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(moved) + 1)
        projected = (moved - excess[int((ordered > excess).sum()) - 1]).clamp_min(0)
        still = (projected - coefficients).norm() < 1e-6 * coefficients.norm()
        coefficients, residual = projected, grown
        if still:
            break
    return coefficients


def _objective(features: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
    """float64 [n], of the first n trials."""
    count = len(coefficients)
    rows, aims = features[:count].double(), targets[:count].double()
    return (torch.bmm(coefficients.double()[:, None], rows)[:, 0] - aims).square().sum(1) / 2
