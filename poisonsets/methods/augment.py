"""The differentiable augmentation of Witches' Brew: a sub-pixel shift and a mirror image, one draw an image.

Geiping et al. (2021), in the form of the authors' code: shifts are uniform and continuous in plus or minus an eighth of
the side (4 pixels at 32), bilinear between pixels; what enters from outside is the mean colour, since the code shifts
normalised images over zeros. There is no scaling. The mirroring, of one half of the views, comes after the shift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from poisonsets.surrogates import shifted


def draw_views(count: int, generator: torch.Generator) -> Tensor:
    """float32 [count, 3] in 0..1: horizontal shift, vertical shift, mirrored where above one half."""
    return torch.rand(count, 3, generator=generator)


def augment_images(images: Tensor, views: Tensor, mean: Tensor, *, mirror: bool = True) -> Tensor:
    """Every image in its view; gradients flow to the images.

    Args:
        images: float32 [..., 3, H, W] in 0..1.
        views: float32 [..., 3], as `draw_views` gives them.
        mean: float32 [1, 3, 1, 1], the colour outside of an image.
        mirror: whether views are mirrored at all.

    Returns:
        float32 of the images' shape.
    """
    height, width = images.shape[-2:]
    # A quarter of the side between the furthest shifts, as published for sides of 32 and more.
    spans = (height // 4, width // 4)
    seen = shifted(images.flatten(0, -4), views.flatten(0, -2), spans, flip=mirror, outside=mean)
    return seen.view_as(images)
