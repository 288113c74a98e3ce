"""`vgg11`, `vgg16`: plain stacks of 3x3 convolutions with batch normalisation and one linear layer.

Source: Simonyan and Zisserman (2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition"), in the
variants of Schwarzschild et al. (2021, "Just How Toxic is Data Poisoning?"), whose convolutions keep their biases under
batch normalisation; `vgg11` is also the one of Geiping et al. (2021, "Witches' Brew"). It differs from torchvision's:
no fully connected layers but the head, no dropout, PyTorch's default initialisation. What differs from the benchmark's
code: maps that are still larger than one pixel at the end are averaged, where that code fails.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.victims.networks import register
from poisonsets.victims.networks.classifier import Body, ConvBN, averaged, channels


class _Layer(ConvBN):
    def __init__(self, inputs: int, outputs: int, *, pool: bool) -> None:
        super().__init__(inputs, outputs, kernel=3, bias=True)
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        values = super().forward(images)
        # Pooling before ReLU gives the same values as after it, with a quarter of the work.
        return F.relu(F.max_pool2d(values, 2) if self.pool else values)


class _VGGBody(Body):
    def __init__(self, stages: tuple[tuple[int, ...], ...], *, last_pool: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in stages:
            for place, outputs in enumerate(stage):
                layers.append(_Layer(inputs, outputs, pool=place == len(stage) - 1))
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.last_pool = last_pool
        self.smallest = 2 ** (len(stages) + last_pool)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        before = self.layers[:-1](images)
        maps = self.layers[-1](before)
        return before, averaged(F.max_pool2d(maps, 2) if self.last_pool else maps, 1).flatten(1)

    def outputs(self) -> tuple[nn.Module, ...]:
        return tuple(self.layers)


def _stages(layers: tuple[int, ...], width: str) -> tuple[tuple[int, ...], ...]:
    return tuple((channels(base, width),) * count for base, count in zip((64, 128, 256, 512, 512), layers, strict=True))


@register("vgg11")
def vgg11(width: str) -> tuple[Body, int]:
    """Stages of 1, 1, 2, 2 and 2 layers of 64, 128, 256, 512 and 512 channels (times width), a 2x2 max-pool after each.

    Args:
        width: channel multiplier, a decimal string.

    Returns:
        The body, for images of at least 32x32 pixels, and its feature count, 512 at width 1. The map before the last
        block is what enters the last convolution.
    """
    stages = _stages((1, 1, 2, 2, 2), width)
    return _VGGBody(stages, last_pool=False), stages[-1][-1]


@register("vgg16")
def vgg16(width: str) -> tuple[Body, int]:
    """Stages of 2, 2, 3, 3 and 3 layers of 64, 128, 256, 512 and 512 channels (times width), and a sixth max-pool.

    The sixth pool takes the 64x64 images of TinyImageNet down to one pixel.

    Args:
        width: channel multiplier, a decimal string.

    Returns:
        The body, for images of at least 64x64 pixels, and its feature count, 512 at width 1. The map before the last
        block is what enters the last convolution.
    """
    stages = _stages((2, 2, 3, 3, 3), width)
    return _VGGBody(stages, last_pool=True), stages[-1][-1]
