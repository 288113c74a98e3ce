"""`convnet`: three small convolution stages and one hidden layer, cheap enough to train and attack on one CPU core.

Not from a paper. At width 1 and 32x32 pixels a forward pass is 2.8 million multiply-adds, against 556 million of
`resnet18`. Its penultimate layer is fully connected, as in the AlexNet variants that the first feature attacks were
shown on: features of a learned layer are those that such attacks move.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.victims.networks import register
from poisonsets.victims.networks.classifier import Body, ConvBN, channels


class _Stage(ConvBN):
    def forward(self, images: Tensor) -> Tensor:
        # Pooling before ReLU gives the same values as after it, with a quarter of the work.
        return F.relu(F.max_pool2d(super().forward(images), 2))


class _ConvNetBody(Body):
    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        sizes = (3, *widths)
        self.stages = nn.Sequential(
            *(_Stage(inputs, outputs, kernel=3) for inputs, outputs in zip(sizes, widths, strict=False))
        )
        self.hidden = nn.Linear(4 * widths[2], widths[2])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.stages(images)
        return maps, F.relu(self.hidden(F.adaptive_avg_pool2d(maps, 2).flatten(1)))

    def outputs(self) -> tuple[nn.Module, ...]:
        # Dropping before the hidden layer's ReLU is dropping after it.
        return (*self.stages, self.hidden)


@register("convnet")
def convnet(width: str) -> tuple[Body, int]:
    """Three stages of 16, 32, 64 channels (times width): 3x3 convolution, BN, 2x2 max-pool, ReLU; a hidden layer.

    Args:
        width: channel multiplier, a decimal string.

    Returns:
        The body, for images of at least 8x8 pixels, and its feature count: the last map is averaged to 2x2,
        flattened and taken through a layer of as many features as the last stage has channels, 64 at width 1. The
        map before the last block is that last map, before it is averaged: the hidden layer counts as the last block.
    """
    widths = (channels(16, width), channels(32, width), channels(64, width))
    return _ConvNetBody(widths), widths[2]
