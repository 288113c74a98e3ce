"""The differentiable augmentation of Witches' Brew: a sub-pixel shift and a mirror image, one draw an image.

Geiping et al. (2021), in the form of the authors' code: shifts are uniform and continuous in plus or minus an eighth of
the side (4 pixels at 32), bilinear between pixels; what enters from outside is the mean colour, since the code shifts
normalised images over zeros. There is no scaling. The mirroring, of one half of the views, comes after the shift.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_views(count: int, generator: torch.Generator) -> Tensor:
    """float32 [count, 3] in 0..1: horizontal shift, vertical shift, mirrored where above one half."""
    return torch.rand(count, 3, generator=generator)


def viewed(images: Tensor, views: Tensor, mean: Tensor, *, mirror: bool = True) -> Tensor:
    """Every image in its view; gradients flow to the images.

    Args:
        images: float32 [..., 3, H, W] in 0..1.
        views: float32 [..., 3], as `draw_views` gives them.
        mean: float32 [1, 3, 1, 1], the colour outside of an image.
        mirror: whether views are mirrored at all.

    Returns:
        float32 of the images' shape.
    """
    flat, drawn = images.flatten(0, -4), views.flatten(0, -2)
    height, width = flat.shape[-2:]
    rows = torch.linspace(-1, 1, height, device=flat.device)
    columns = torch.linspace(-1, 1, width, device=flat.device)
    across = columns[None, :] + (2 * drawn[:, :1] - 1) * _reach(width)
    down = rows[None, :] + (2 * drawn[:, 1:2] - 1) * _reach(height)
    if mirror:
        across = torch.where(drawn[:, 2:] > 0.5, -across, across)
    grid = torch.stack([across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], dim=-1)
    centred = F.grid_sample(flat - mean, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return (centred + mean).view_as(images)


def _reach(side: int) -> float:
    """The largest shift in grid units, of which 2 are side - 1 pixels; as published for sides of 32 and more."""
    return (side // 4) / (side - 1)
