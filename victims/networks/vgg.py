"""`vgg11`, `vgg16`: plain stacks of 3x3 convolutions with batch normalisation and one linear layer.

Source: Simonyan and Zisserman (2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition"), in the
variants of Schwarzschild et al. (2021, "Just How Toxic is Data Poisoning?"), whose convolutions keep their biases under
batch normalisation; `vgg11` is also the one of Geiping et al. (2021, "Witches' Brew"). It differs from torchvision's:
no fully connected layers but the head, no dropout, PyTorch's default initialisation. What differs from the benchmark's
code: maps that are still larger than one pixel at the end are averaged, where that code fails.
"""

import torch
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
        return torch.relu_(F.max_pool2d(values, 2) if self.pool else values)


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


def _vgg(layers: tuple[int, ...], width: str, *, last_pool: bool) -> tuple[Body, int]:
    counts = zip((64, 128, 256, 512, 512), layers, strict=True)
    stages = tuple((channels(base, width),) * count for base, count in counts)
    return _VGGBody(stages, last_pool=last_pool), stages[-1][-1]


@register("vgg11")
def vgg11(width: str) -> tuple[Body, int]:
    """Stages of 1, 1, 2, 2 and 2 layers of 64, 128, 256, 512 and 512 channels, a 2x2 max-pool after each.

    It takes images of at least 32x32 pixels and has 512 features at width 1. The map before the last block is what
    enters the last convolution.
    """
    return _vgg((1, 1, 2, 2, 2), width, last_pool=False)


@register("vgg16")
def vgg16(width: str) -> tuple[Body, int]:
    """As `vgg11` with stages of 2, 2, 3, 3 and 3 layers, and a sixth max-pool.

    The sixth pool takes the 64x64 images of TinyImageNet, the smallest it takes, down to one pixel.
    """
    return _vgg((2, 2, 3, 3, 3), width, last_pool=True)
