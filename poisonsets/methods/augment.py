"""The differentiable augmentation of Witches' Brew: a sub-pixel shift and a mirror image, drawn for each image.

Geiping et al. (2021), as in the authors' code: shifts are uniform and continuous within an eighth of the side (4 pixels
at 32), bilinear between pixels and padded with the mean colour, as the code pads normalised images with zeros. There is
no scaling. One half of the views is mirrored, after the shift.
"""

import torch
from torch import Tensor

from poisonsets.surrogates import shifted


def draw_views(count: int, generator: torch.Generator) -> Tensor:
    """Draw views, float32 [count, 3] in 0..1: horizontal shift, vertical shift, mirrored if above one half."""
    return torch.rand(count, 3, generator=generator)


def augment_images(images: Tensor, views: Tensor, mean: Tensor, *, mirror: bool = True) -> Tensor:
    """Every image in its view, float32 [..., 3, H, W]; gradients flow to the images.

    Args:
        images: float32 [..., 3, H, W] in 0..1.
        views: float32 [..., 3], from `draw_views`.
        mean: float32 [1, 3, 1, 1], the padding's colour.
        mirror: whether views are mirrored at all.
    """
    # A quarter of the side between the furthest shifts, as published for sides of 32 and more.
    spans = (images.shape[-2] // 4, images.shape[-1] // 4)
    seen = shifted(images.flatten(0, -4), views.flatten(0, -2), spans, flip=mirror, outside=mean)
    return seen.view_as(images)
