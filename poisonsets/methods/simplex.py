"""The point of a convex hull nearest to a target: the convex polytope's coefficients, for a whole block.

Zhu et al. (2019), equation 2. What differs: their solver works in feature space on one trial, estimates its step from
one random product and stops once the iterate moves little. This one works on Gram matrices alone, takes its step from
their largest eigenvalues and stops on a bound of the error.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from poisonsets.manifests.errors import UsageError

CHECKED_EVERY = 10
COLUMNS = 4096  # features held in float64 at a time for a Gram matrix
SHARE = 1e-4  # of the objective: a smaller gap is not worth an iteration, whatever the target's length


def nearest_in_hull(
    features: Tensor,
    targets: Tensor,
    *,
    start: Tensor | None = None,
    tolerance: float = 1e-8,
    limit: int = 10_000,
) -> Tensor:
    """For each trial the c >= 0 of sum 1 that minimise f(c) = 1/2 ||t - sum_j c_j f_j||^2.

    Accelerated projected gradient (Beck and Teboulle 2009), restarted when momentum leads uphill (O'Donoghue and
    Candes 2015). As the coefficients sum to 1, f(c) = 1/2 c'Gc with G the Gram matrix of the differences f_j - t, which
    drops what all features share with the target and is far better conditioned. The Frank-Wolfe gap
    c'Gc - min_j (Gc)_j is at least f(c) - min f. A trial finishes at the first check (every `CHECKED_EVERY`
    iterations) at which its gap is at most `tolerance` ||t||^2, or `SHARE` of f(c), whatever the other trials do.

    The Gram matrices come to the CPU, wherever the features are: an iteration of matrices so small takes less time
    there than a device needs to launch its operators.

    Args:
        features: floating [T, P, ...], P at least 1.
        targets: floating [T, ...] of the same features; zero is allowed.
        start: [T, P] on the CPU, for instance the previous step's coefficients; 1/P each by default.
        tolerance: bound on f(c) - min f as a share of ||t||^2.
        limit: iterations after which a trial keeps what it has.

    Returns:
        float64 [T, P] on the CPU, at least 0, of sum 1 up to rounding, without a gradient; NaN for a trial with
        non-finite values.

    Raises:
        UsageError: the shapes do not match.
    """
    if features.shape[:1] + features.shape[2:] != targets.shape or features.shape[1] < 1:
        raise UsageError(
            f"features {list(features.shape)} for targets {list(targets.shape)}, wanted [T, P, D] and [T, D]"
        )
    gram, squared = _measured(features.detach().flatten(2), targets.detach().flatten(1))
    whole = gram.isfinite().flatten(1).all(1) & squared.isfinite()
    if not whole.all():  # solved as zeros, so that the other trials go on
        gram, squared = torch.where(whole[:, None, None], gram, 0), torch.where(whole, squared, 0)
        start = None if start is None else torch.where(whole[:, None], start, 1 / features.shape[1])
    state = _begin(gram, squared, start, tolerance)
    found = state.point.clone()
    active = torch.arange(len(squared))
    for iteration in range(limit + 1):
        if iteration % CHECKED_EVERY == 0 or iteration == limit:
            value = (state.point * state.slope).sum(1)  # twice f(c)
            pending = value - state.slope.amin(1) > torch.maximum(state.goal, SHARE / 2 * value)
            found[active] = state.point
            kept = pending.nonzero()[:, 0]
            if not len(kept):
                break
            if len(kept) < len(active):
                state, active = state.of(kept), active[kept]
        state = _advance(state)
    return torch.where(whole[:, None], found, torch.nan)


def onto_simplex(points: Tensor) -> Tensor:
    """The nearest point of the simplex, floating [..., P] to [..., P], by sorting (Duchi et al. 2008, figure 1)."""
    ordered = points.sort(dim=-1, descending=True).values
    counts = torch.arange(1, points.shape[-1] + 1, dtype=points.dtype, device=points.device)
    excess = (ordered.cumsum(-1) - 1) / counts
    # It rises with the count while values exceed it, then falls: the threshold is its maximum.
    return (points - excess.amax(-1, keepdim=True)).clamp_min(0)


@dataclass(frozen=True)
class _State:
    """Per trial, along the first axis: the problem, the point and the previous one, with their gradients."""

    gram: Tensor
    step: Tensor
    goal: Tensor
    point: Tensor
    slope: Tensor
    earlier: Tensor
    earlier_slope: Tensor
    momentum: Tensor

    def of(self, trials: Tensor) -> _State:
        return replace(self, **{field.name: getattr(self, field.name)[trials] for field in fields(self)})


def _measured(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The Gram matrices of the differences, float64 [T, P, P], and the targets' squared lengths [T], on the CPU."""
    poisons = features.shape[1]
    gram = features.new_zeros(len(features), poisons, poisons, dtype=torch.float64)
    for part, aim in zip(torch.split(features, COLUMNS, 2), torch.split(targets, COLUMNS, 1), strict=True):
        difference = part.double() - aim.double()[:, None]
        gram += torch.bmm(difference, difference.mT)
    lengths = targets.double().square().sum(1)
    both = torch.cat([gram.flatten(1), lengths[:, None]], dim=1).cpu()  # one move: each waits for the device
    return both[:, :-1].view(gram.shape), both[:, -1]


def _begin(gram: Tensor, squared: Tensor, start: Tensor | None, tolerance: float) -> _State:
    point = torch.full_like(gram[:, 0], 1 / gram.shape[1]) if start is None else onto_simplex(start.detach().double())
    # A zero Gram matrix may take any step; its gap is zero at the first check.
    step = 1 / torch.linalg.eigvalsh(gram)[:, -1:].clamp_min(torch.finfo(torch.float64).tiny)
    slope = _times(gram, point)
    # The Gram matrix's rounding is a floor: a zero target inside the hull would otherwise never be reached.
    rounding = torch.finfo(torch.float64).eps * gram.diagonal(dim1=1, dim2=2).amax(1)
    goal = tolerance * squared + rounding
    return _State(gram, step, goal, point, slope, point, slope, torch.ones_like(step))


def _advance(state: _State) -> _State:
    """One iteration; the gradient at the extrapolated point is extrapolated too, which saves a product."""
    following = (1 + (1 + 4 * state.momentum.square()).sqrt()) / 2
    share = (state.momentum - 1) / following
    ahead = state.point + share * (state.point - state.earlier)
    slope = state.slope + share * (state.slope - state.earlier_slope)
    point = onto_simplex(ahead - state.step * slope)
    uphill = ((ahead - point) * (point - state.point)).sum(1, keepdim=True) > 0
    return replace(
        state,
        point=point,
        slope=_times(state.gram, point),
        earlier=state.point,
        earlier_slope=state.slope,
        momentum=torch.where(uphill, torch.ones_like(following), following),
    )


def _times(gram: Tensor, point: Tensor) -> Tensor:
    return torch.bmm(gram, point[:, :, None])[:, :, 0]
