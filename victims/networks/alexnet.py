"""`alexnet-fc`, `alexnet-htbd`: the two small AlexNets on which the first clean-label attacks were shown.

Source: Krizhevsky et al. (2012, "ImageNet Classification with Deep Convolutional Neural Networks"), in the variants of
Schwarzschild et al. (2021, "Just How Toxic is Data Poisoning?") for the baselines of feature collision and
hidden-trigger backdoors. What differs from the benchmark's code: the last maps are averaged to the size that code
demands (nothing happens at 32x32), and `alexnet-htbd` lacks the two dropout layers of rate 0.5 before its hidden ones,
which act in training only and draw from PyTorch's global generator. A pretraining's `dropout` is the nearest thing:
it acts on the output of every layer.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.victims.networks import register
from poisonsets.victims.networks.classifier import Body, averaged, channels


def _normalised(maps: Tensor) -> Tensor:
    """Local response normalisation over 9 channels with k = 1, alpha = 0.001 and beta = 0.75.

    As `torch.nn.functional.local_response_norm`, which divides alpha by the number of channels. Its 3D pool has no
    reproducible gradient on a GPU; the 2D one has.
    """
    count, depth, height, width = maps.shape
    squares = maps.square().reshape(count, 1, depth, height * width)
    means = F.avg_pool2d(squares, (9, 1), stride=1, padding=(4, 0)).reshape(maps.shape)
    return maps * (1 + 0.001 * means).pow(-0.75)


class _CollisionBody(Body):
    def __init__(self, maps: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, maps, 5, padding=2)
        self.second = nn.Conv2d(maps, maps, 5, padding=2)
        self.third = nn.Linear(64 * maps, hidden[0])
        self.fourth = nn.Linear(*hidden)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = _normalised(F.max_pool2d(torch.relu_(self.first(images)), 3, 2, 1))
        maps = F.max_pool2d(_normalised(torch.relu_(self.second(maps))), 3, 2, 1)
        return maps, torch.relu_(self.fourth(torch.relu_(self.third(averaged(maps, 8).flatten(1)))))

    def outputs(self) -> tuple[nn.Module, ...]:
        # Dropping before ReLU is dropping after it.
        return (self.first, self.second, self.third, self.fourth)


class _HiddenTriggerBody(Body):
    smallest = 29

    def __init__(self, maps: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=1 if layer else 2, padding=1)
            for layer, (inputs, outputs) in enumerate(pairwise((3, *maps)))
        )
        self.sixth = nn.Linear(maps[-1], hidden)
        self.seventh = nn.Linear(hidden, hidden)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = images
        for layer, convolution in enumerate(self.layers):
            maps = convolution(maps)
            if layer in (0, 1, 4):
                maps = F.max_pool2d(maps, 3, 2)
            maps = torch.relu_(maps)
        return maps, torch.relu_(self.seventh(torch.relu_(self.sixth(averaged(maps, 1).flatten(1)))))

    def outputs(self) -> tuple[nn.Module, ...]:
        # Dropping before ReLU is dropping after it; pools lie between for some, as in the networks of the source.
        return (*self.layers, self.sixth, self.seventh)


@register("alexnet-fc")
def alexnet_fc(width: str) -> tuple[Body, int]:
    """Two 5x5 convolutions of 64 channels with response normalisation, hidden layers of 384 and 192.

    It has 192 features at width 1. The hidden layers are the last block: the map before it is the last one, 8x8 pixels
    for images of 32x32.
    """
    hidden = (channels(384, width), channels(192, width))
    return _CollisionBody(channels(64, width), hidden), hidden[1]


@register("alexnet-htbd")
def alexnet_htbd(width: str) -> tuple[Body, int]:
    """Five 3x3 convolutions of 64, 192, 384, 256 and 256 channels and two hidden layers of 4096.

    It takes images of at least 29x29 pixels and has 4096 features at width 1. The hidden layers are the last block: the
    map before it is the last one, a single pixel for images of 32x32.
    """
    hidden = channels(4096, width)
    return _HiddenTriggerBody(tuple(channels(base, width) for base in (64, 192, 384, 256, 256)), hidden), hidden
