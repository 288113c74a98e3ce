"""Images brought to a network's input size by two fixed matrices: bilinear, antialiased, differentiable, reproducible.

Source: the antialiased bilinear filter of PyTorch's `interpolate` (`antialias=True, align_corners=False`) and of
Pillow, whose values these are to float32 rounding. What differs: a matrix product has a reproducible gradient on every
device, and no operator of its own for backward passes.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn


class Enlarge(nn.Module):
    """Brings images float32 [N, 3, H, W] of any size to [N, 3, side, side].

    Smaller images are enlarged and larger ones reduced, each axis by itself, so other than square ones are distorted.
    A change of a pixel reaches the network as that change's enlargement: a budget on the pixels stays one.

    Args:
        side: height and width of the result, in pixels, at least 1.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self._kept: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, 3, side, side] of float32 [N, 3, H, W]."""
        height, width = images.shape[-2:]
        if (height, width) == (self.side, self.side):
            return images
        # Half precision would round the pixels themselves.
        with torch.autocast(images.device.type, enabled=False):
            rows, columns = self._matrix(height, images.device), self._matrix(width, images.device)
            return rows @ images @ columns.T

    def _matrix(self, size: int, device: torch.device) -> Tensor:
        key = size, device
        if key not in self._kept:
            self._kept[key] = weights(size, self.side).to(device)
        return self._kept[key]


@lru_cache(maxsize=64)
def weights(size: int, side: int) -> Tensor:
    """What each of `side` pixels takes from each of `size`: float32 [side, size] on the CPU, rows that sum to 1.

    The filter is a triangle over the pixels' centres, one pixel of the finer of both grids to each side.
    """
    with torch.device("cpu"):
        # In float32 throughout, as PyTorch computes them.
        scale = torch.tensor(size, dtype=torch.float32) / side
        reach = scale.clamp(min=1)
        centres = scale * (torch.arange(side)[:, None] + 0.5)
        distances = torch.arange(size)[None] - centres + 0.5
        triangle = (1 - (distances * (1 / reach)).abs()).clamp(min=0)
        return triangle / triangle.sum(1, keepdim=True)
