"""The budget: projection while crafting, and the one place where floats become levels.

Rounding to nearest keeps a projected image inside its ball; truncation, which peers use, moves a quarter of unchanged
pixels by one level and can leave the ball by one (spec: 8/255 became 9/255 in the published checker).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from poisonsets.interface import Budget
from poisonsets.manifests.bases.dataset import Images
from poisonsets.manifests.model import L2, Linf


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


def to_levels(images: Tensor, bases: Images, budget: Budget) -> Images:
    """The images as uint8, rounded to nearest, and exactly inside the budget whatever came in.

    Args:
        images: float32 [N, 3, H, W], finite.
        bases: uint8 [N, H, W, 3].
        budget: the constraint, in integer levels.

    Returns:
        uint8 [N, H, W, 3].
    """
    levels = torch.round(images.clamp(0, 1) * 255).to(torch.int64).permute(0, 2, 3, 1).cpu().numpy()
    origin = bases.astype(np.int64)
    delta = levels - origin
    if isinstance(budget, Linf):
        delta = np.clip(delta, -budget.levels, budget.levels)
    elif isinstance(budget, L2):
        delta = np.stack([_shrunk(one, budget.squared_levels) for one in delta])
    return np.asarray(origin + delta, dtype=np.uint8)


def _shrunk(
    delta: np.ndarray[tuple[int, ...], np.dtype[np.int64]], squared_levels: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """A perturbation with its length cut to the budget; cutting towards zero never lengthens it."""
    squared = int((delta**2).sum())
    while squared > squared_levels:
        delta = np.trunc(delta * (math.sqrt(squared_levels / squared) * (1 - 1e-9))).astype(np.int64)
        squared = int((delta**2).sum())
    return delta
