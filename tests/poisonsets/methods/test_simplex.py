"""The solver of the convex polytope's coefficients against an independent one, and alone against in a block."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from poisonsets.manifests.errors import UsageError
from poisonsets.methods.simplex import SHARE, nearest_in_hull, onto_simplex

Vector = NDArray[np.float64]


def drawn(trials: int, poisons: int, features: int, *, seed: int = 0, directions: int = 3) -> tuple[Tensor, Tensor]:
    """Positive features with much in common and few directions to differ in, as penultimate ReLU features have."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.rand(features, generator=generator)
    mix = torch.randn(directions, features, generator=generator) * 0.3
    spread = torch.randn(trials, poisons + 1, directions, generator=generator)
    noise = 0.01 * torch.randn(trials, poisons + 1, features, generator=generator)
    everything = (common + spread @ mix + noise).relu()
    return everything[:, 1:].contiguous(), everything[:, 0].contiguous()


def inside(trials: int, poisons: int, features: int) -> tuple[Tensor, Tensor]:
    points, _ = drawn(trials, poisons, features, seed=4)
    weights = torch.rand(trials, poisons, generator=torch.Generator().manual_seed(9))
    weights /= weights.sum(1, keepdim=True)
    return points, (weights[:, :, None] * points).sum(1)


def collinear(trials: int, poisons: int, features: int) -> tuple[Tensor, Tensor]:
    points, target = drawn(trials, 1, features, seed=5)
    return points * torch.linspace(0.5, 2, poisons)[:, None], target


def twins(trials: int, poisons: int, features: int) -> tuple[Tensor, Tensor]:
    points, target = drawn(trials, poisons // 2, features, seed=6)
    return torch.cat([points, points], dim=1), target


def zero_target(trials: int, poisons: int, features: int) -> tuple[Tensor, Tensor]:
    points, target = drawn(trials, poisons, features, seed=7)
    return points, torch.zeros_like(target)


def zero_inside(trials: int, poisons: int, features: int) -> tuple[Tensor, Tensor]:
    points, target = drawn(trials, poisons // 2, features, seed=8)
    return torch.cat([points, -points], dim=1), torch.zeros_like(target)


PROBLEMS = {
    "few directions": drawn(4, 8, 40),
    "many directions": drawn(4, 8, 40, seed=1, directions=30),
    "more poisons than features": drawn(4, 12, 5, seed=2),
    "large features": tuple(one * 1e4 for one in drawn(4, 8, 40, seed=3)),
    "one poison": drawn(4, 1, 40),
    "target inside the hull": inside(4, 8, 40),
    "collinear": collinear(4, 8, 40),
    "every poison twice": twins(4, 8, 40),
    "zero target": zero_target(4, 8, 40),
    "zero target inside the hull": zero_inside(4, 8, 40),
    "all zero": (torch.zeros(4, 8, 40), torch.zeros(4, 40)),
}


def value(features: Tensor, target: Tensor, coefficients: Vector) -> float:
    """The objective from its definition, in float64."""
    residual = target.double().numpy() - coefficients @ features.double().numpy()
    return 0.5 * float(residual @ residual)


def by_slsqp(features: Tensor, target: Tensor) -> Vector:
    """The coefficients that scipy finds, made exactly feasible: a point of the simplex is never below the minimum."""
    rows, aim = features.double().numpy(), target.double().numpy()
    unit = max(float(np.abs(rows).max()), 1e-12)
    rows, aim = rows / unit, aim / unit
    found = minimize(
        lambda c: 0.5 * float(np.square(c @ rows - aim).sum()),
        np.full(len(rows), 1 / len(rows)),
        jac=lambda c: rows @ (c @ rows - aim),
        bounds=[(0, 1)] * len(rows),
        constraints={"type": "eq", "fun": lambda c: c.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-15},
    ).x
    feasible: Vector = np.clip(found, 0, None)
    return feasible / feasible.sum()


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_is_as_near_as_an_independent_solver_gets(name: str) -> None:
    features, targets = PROBLEMS[name]
    coefficients = nearest_in_hull(features, targets)
    assert coefficients.dtype == torch.float64
    assert float(coefficients.min()) >= 0
    assert float((coefficients.sum(1) - 1).abs().max()) <= 1e-9
    for rows, target, found in zip(features, targets, coefficients.numpy(), strict=True):
        allowed = 1e-8 * float(target.double().square().sum())
        # Where zero lies inside the hull and is the target, nothing but rounding is left of either objective.
        rounding = 1e-12 * float(rows.double().square().sum(1).max())
        best = value(rows, target, by_slsqp(rows, target))
        assert value(rows, target, found) <= 1.001 * best + allowed + rounding


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-10])
def test_the_gap_bounds_the_error(tolerance: float) -> None:
    features, targets = drawn(6, 10, 64, seed=11)
    coefficients = nearest_in_hull(features, targets, tolerance=tolerance)
    rows, aims = features.double(), targets.double()
    residual = torch.bmm(coefficients[:, None], rows)[:, 0] - aims
    slope = torch.bmm(rows, residual[:, :, None])[:, :, 0]
    gap = (coefficients * slope).sum(1) - slope.amin(1)
    allowed = torch.maximum(tolerance * aims.square().sum(1), SHARE * 0.5 * residual.square().sum(1))
    assert bool((gap <= allowed * 1.001).all())


def test_a_trial_does_not_know_of_the_others() -> None:
    """Easy and hard trials in one block, which leave the computation at different times."""
    parts = [drawn(2, 8, 40, seed=1, directions=30), inside(2, 8, 40), twins(2, 8, 40), drawn(2, 8, 40, seed=3)]
    features, targets = (torch.cat(one) for one in zip(*parts, strict=True))
    together = nearest_in_hull(features, targets)
    for trial in range(len(features)):
        alone = nearest_in_hull(features[trial : trial + 1], targets[trial : trial + 1])
        assert float((alone[0] - together[trial]).abs().max()) <= 1e-12


def test_a_start_at_the_solution_needs_no_iteration() -> None:
    features, targets = drawn(4, 8, 40)
    solved = nearest_in_hull(features, targets)
    again = nearest_in_hull(features, targets, start=solved, limit=0)
    assert float((again - solved).abs().max()) <= 1e-15
    unsolved = nearest_in_hull(features, targets, limit=0)
    assert torch.equal(unsolved, torch.full((4, 8), 1 / 8, dtype=torch.float64))


def test_maps_count_as_one_axis_of_features_however_long() -> None:
    features, targets = drawn(2, 5, 8 * 30 * 30, seed=12)
    maps = nearest_in_hull(features.view(2, 5, 8, 30, 30), targets.view(2, 8, 30, 30))
    assert torch.equal(maps, nearest_in_hull(features, targets))
    assert value(features[0], targets[0], maps[0].numpy()) <= 1.001 * value(
        features[0], targets[0], by_slsqp(features[0], targets[0])
    )


def test_no_gradient_flows_through_the_coefficients() -> None:
    features, targets = drawn(2, 4, 10)
    assert not nearest_in_hull(features.requires_grad_(), targets.requires_grad_()).requires_grad


def test_the_projection_is_the_nearest_point_of_the_simplex() -> None:
    """No vertex lies on the far side of the plane through the projection, square to its way."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 7, generator=generator, dtype=torch.float64) * torch.logspace(-2, 2, 200)[:, None]
    projected = onto_simplex(points)
    assert float(projected.min()) >= 0
    assert float((projected.sum(1) - 1).abs().max()) <= 1e-12
    way = points - projected
    beyond = way - (way * projected).sum(1, keepdim=True)
    assert float(beyond.max()) <= 1e-9


def test_what_it_cannot_solve_is_refused_by_name() -> None:
    features, targets = drawn(3, 4, 10)
    with pytest.raises(UsageError, match="wanted"):
        nearest_in_hull(features, targets[:, :9])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_trial_that_is_not_finite_leaves_the_others_as_they_are(value: float) -> None:
    features, targets = drawn(3, 4, 10)
    wanted = nearest_in_hull(features, targets)
    features[1, 2, 3] = value
    found = nearest_in_hull(features, targets, start=wanted)
    assert bool(found[1].isnan().all())
    assert torch.allclose(found[[0, 2]], wanted[[0, 2]], atol=1e-6)
