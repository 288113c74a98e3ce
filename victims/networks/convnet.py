"""`convnet` is cheap enough to train and attack on one CPU core; `convnet64` is the shallow network of Witches' Brew.

`convnet` is not from a paper. At width 1 and 32x32 pixels a forward pass is 2.8 million multiply-adds, against 556
million of `resnet18`. Its penultimate layer is fully connected, as in the AlexNet variants on which feature attacks
were first shown: they move features of a learned layer.

`convnet64`: Geiping et al. (2021, "Witches' Brew"), the six-layer ConvNet of the comparison with MetaPoison. What
differs from the published code: the last map is averaged to 3x3 for images of other sizes than 32x32, where that code
fails.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.victims.networks import register
from poisonsets.victims.networks.classifier import Body, ConvBN, averaged, channels


class _Stage(ConvBN):
    def forward(self, images: Tensor) -> Tensor:
        # Pooling before ReLU gives the same values as after it, with a quarter of the work.
        return torch.relu_(F.max_pool2d(super().forward(images), 2))


class _ConvNetBody(Body):
    smallest = 8

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(_Stage(inputs, outputs, kernel=3) for inputs, outputs in pairwise((3, *widths))))
        self.hidden = nn.Linear(4 * widths[2], widths[2])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.stages(images)
        return maps, torch.relu_(self.hidden(averaged(maps, 2).flatten(1)))

    def outputs(self) -> tuple[nn.Module, ...]:
        # Dropping before the hidden layer's ReLU is dropping after it.
        return (*self.stages, self.hidden)


class _PlainBody(Body):
    smallest = 9

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairwise((3, *widths))
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = images
        for layer in self.layers[:3]:
            maps = torch.relu_(layer(maps))
        before = torch.relu_(F.max_pool2d(self.layers[3](maps), 3))
        return before, averaged(torch.relu_(F.max_pool2d(self.layers[4](before), 3)), 3).flatten(1)

    def outputs(self) -> tuple[nn.Module, ...]:
        # Dropping before ReLU is dropping after it.
        return tuple(self.layers)


@register("convnet")
def convnet(width: str) -> tuple[Body, int]:
    """Three stages of 16, 32 and 64 channels: 3x3 convolution, BN, 2x2 max-pool, ReLU; then a hidden layer.

    It takes images of at least 8x8 pixels. The last map is averaged to 2x2, flattened and taken through a layer of as
    many features as the last stage has channels, 64 at width 1. That layer is the last block: the map before it is the
    last map, before it is averaged.
    """
    widths = (channels(16, width), channels(32, width), channels(64, width))
    return _ConvNetBody(widths), widths[2]


@register("convnet64")
def convnet64(width: str) -> tuple[Body, int]:
    """Five 3x3 convolutions of 64, 128, 128, 256 and 256 channels, max-pools of 3 after the last two.

    It takes images of at least 9x9 pixels. Features are the 3x3 pixels of the last map, 2304 at width 1. The map before
    the last block is what enters the last convolution.
    """
    widths = tuple(channels(base, width) for base in (64, 128, 128, 256, 256))
    return _PlainBody(widths), 9 * widths[-1]
