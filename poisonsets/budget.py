"""The budget: projection while crafting, and the one place where a poison is rounded to whole levels.

Rounding to nearest keeps a projected image inside its ball. Truncation, which peers use, can leave the ball by one
level (8/255 became 9/255 in the published checker), and moves up to a quarter of the unchanged levels by one once they
have been normalised and back.
"""

from __future__ import annotations

import math
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
UNBOUNDED_NOISE = 16 / 255


def project(images: Tensor, bases: Tensor, budget: Budget) -> Tensor:
    """The nearest images inside the ball around their bases, then inside 0..1.

    Args:
        images, bases: float32 [..., 3, H, W] in 0..1 (images may lie outside).
        budget: the constraint. For l2 the scaling is the exact projection onto the ball; clipping to 0..1 afterwards
            can only bring an image nearer to its base.
    """
    if isinstance(budget, Linf):
        epsilon = budget.levels / 255
        images = torch.minimum(torch.maximum(images, bases - epsilon), bases + epsilon)
    elif isinstance(budget, L2):
        delta = images - bases
        radius = math.sqrt(budget.squared_levels) / 255
        norm = delta.flatten(-3).norm(dim=-1)[..., None, None, None]
        images = bases + delta * (radius / norm.clamp_min(1e-12)).clamp_max(1)
    return images.clamp(0, 1)


def noise_scale(budget: Budget, values: int, *, uniform: bool = False) -> float:
    """How far noise that fills the budget moves a value, in 0..1; 16 levels where there is no budget.

    Args:
        budget: under l-infinity it is the radius.
        values: over which an l2 radius is spread: the noise's standard deviation, or half the width of uniform noise,
            at which their expected squared length is that of the radius.
        uniform: which of the two.
    """
    if isinstance(budget, Linf):
        return budget.levels / 255
    if isinstance(budget, L2):
        return math.sqrt((3 if uniform else 1) * budget.squared_levels / values) / 255
    return UNBOUNDED_NOISE


def nearest_levels(images: Tensor) -> Images:
    """float32 [N, 3, H, W] in 0..1 to uint8 [N, H, W, 3], rounded to nearest; no gradient flows through."""
    return torch.round(images.detach().clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def to_levels(images: Tensor, bases: Images, budget: Budget) -> Images:
    """The images as uint8, rounded to nearest, and exactly inside the budget whatever came in.

    Args:
        images: float32 [N, 3, H, W], finite.
        bases: uint8 [N, H, W, 3].
        budget: the constraint, in integer levels.

    Returns:
        uint8 [N, H, W, 3].
    """
    origin = bases.astype(np.int64)
    delta = nearest_levels(images) - origin
    if isinstance(budget, Linf):
        delta = np.clip(delta, -budget.levels, budget.levels)
    elif isinstance(budget, L2):
        delta = np.stack([_shrink(one, budget.squared_levels) for one in delta])
    return np.asarray(origin + delta, dtype=np.uint8)


def _shrink(delta: Delta, squared_levels: int) -> Delta:
    """A perturbation times the largest share, in steps of 1/65536, at which its rounded length is in the budget.

    Rounding to nearest again keeps the length: cutting towards zero would lose half a level of every value, which for
    values of a few levels is a third of the budget. A share of at most 1 lengthens no value.
    """
    inside, outside = 0, SHARES + 1
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if int((_times(delta, middle) ** 2).sum()) <= squared_levels:
            inside = middle
        else:
            outside = middle
    return _times(delta, inside)


def _times(delta: Delta, share: int) -> Delta:
    """delta * share / 65536 in integers, halves away from zero."""
    return np.asarray(np.sign(delta) * ((2 * np.abs(delta) * share + SHARES) // (2 * SHARES)), dtype=np.int64)
