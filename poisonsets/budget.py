"""The budget: projection while crafting, and the one place where a poison is rounded to whole levels.

Rounding to nearest keeps a projected image inside its ball. Truncation, common elsewhere, can leave the ball by one
level (the published checker accepts 9/255 for 8/255), and shifts up to a quarter of the unchanged levels by one after
a round trip through normalisation.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poisonsets.interface import Budget
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import L2, Linf

Delta: TypeAlias = NDArray[np.int64]
SHARES = 1 << 16


def project(images: Tensor, bases: Tensor, budget: Budget) -> Tensor:
    """Project images onto the ball around their bases, then clip them to 0..1, which only brings them nearer.

    Both are float32 [..., 3, H, W]; bases lie in 0..1, images may lie outside.
    """
    return projection(bases, budget)(images)


def projection(bases: Tensor, budget: Budget) -> Callable[[Tensor], Tensor]:
    """`project` for many steps: what depends on the bases alone is computed once."""
    if isinstance(budget, Linf):
        epsilon = budget.levels / 255
        # One clamp does both, as bases lie in 0..1.
        return partial(torch.clamp, min=(bases - epsilon).clamp_(min=0), max=(bases + epsilon).clamp_(max=1))
    if isinstance(budget, L2):
        return partial(_onto_ball, bases=bases, radius=math.sqrt(budget.squared_levels) / 255)
    return partial(torch.clamp, min=0, max=1)


def _onto_ball(images: Tensor, *, bases: Tensor, radius: float) -> Tensor:
    delta = images - bases
    norm = delta.flatten(-3).norm(dim=-1)[..., None, None, None]
    return delta.mul_((radius / norm.clamp_min(1e-12)).clamp_max(1)).add_(bases).clamp_(0, 1)


def noise_scale(budget: Budget, values: int, *, uniform: bool = False) -> float:
    """The scale in 0..1 of noise that fills the budget: the l-infinity radius, or 16 levels without a budget.

    Under l2 the expected squared length over that many values is the squared radius; the scale is then the standard
    deviation, or for `uniform` noise half its width.
    """
    if isinstance(budget, Linf):
        return budget.levels / 255
    if isinstance(budget, L2):
        return math.sqrt((3 if uniform else 1) * budget.squared_levels / values) / 255
    return 16 / 255


def nearest_levels(images: Tensor) -> Images:
    """float32 [N, 3, H, W] in 0..1 to uint8 [N, H, W, 3], rounded to nearest; no gradient flows through."""
    return torch.round(images.detach().clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def to_levels(images: Tensor, bases: Images, budget: Budget) -> Images:
    """Finite float32 [N, 3, H, W] rounded to uint8 [N, H, W, 3], each exactly within the budget around its base."""
    origin = bases.astype(np.int64)
    delta = nearest_levels(images) - origin
    if isinstance(budget, Linf):
        delta = np.clip(delta, -budget.levels, budget.levels)
    elif isinstance(budget, L2):
        delta = np.stack([_shrink(one, budget.squared_levels) for one in delta])
    return np.asarray(origin + delta, dtype=np.uint8)


def _shrink(delta: Delta, squared_levels: int) -> Delta:
    """Scale a perturbation by the largest share, in steps of 1/65536, that keeps its rounded length in the budget.

    Rounding to nearest preserves the length: truncation would cost half a level a value, a third of the budget where
    values are a few levels. A share of at most 1 lengthens no value.
    """

    def squared_length(share: int) -> int:
        return int((_times(delta, share) ** 2).sum())

    return _times(delta, bisect_right(range(SHARES + 1), squared_levels, key=squared_length) - 1)


def _times(delta: Delta, share: int) -> Delta:
    """delta * share / 65536 in integers, halves away from zero."""
    return np.asarray(np.sign(delta) * ((2 * np.abs(delta) * share + SHARES) // (2 * SHARES)), dtype=np.int64)
