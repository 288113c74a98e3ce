"""`resnet18`: the ResNet-18 for 32x32 images that the published poisoning benchmark uses.

Source: He et al. (2016), in the variant of Schwarzschild et al. (2021, "Just How Toxic is Data
Poisoning?"). It differs from torchvision's: a 3x3 stem with stride 1, no max-pool, PyTorch's default
initialisation. Two differences from the benchmark's code: the final 4x4 average pool is an adaptive one
(the same at 32x32, and defined for other sizes), and no random numbers are drawn for its layer drop of
probability 0.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.victims.networks import register
from poisonsets.victims.networks.classifier import Body, ConvBN, channels


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = ConvBN(inputs, outputs, kernel=3, stride=stride)
        self.second = ConvBN(outputs, outputs, kernel=3)
        changes = stride != 1 or inputs != outputs
        self.shortcut = ConvBN(inputs, outputs, kernel=1, stride=stride) if changes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(images))) + self.shortcut(images))


class _ResNetBody(Body):
    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = ConvBN(3, widths[0], kernel=3)
        stages: list[nn.Module] = []
        inputs = widths[0]
        for stage, (outputs, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(_BasicBlock(inputs, outputs, stride=stride))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        before = self.blocks[:-1](F.relu(self.stem(images)))
        return before, F.adaptive_avg_pool2d(self.blocks[-1](before), 1).flatten(1)

    def outputs(self) -> tuple[nn.Module, ...]:
        return tuple(self.blocks)


@register("resnet18")
def resnet18(width: str) -> tuple[Body, int]:
    """Basic blocks [2, 2, 2, 2] of 64, 128, 256 and 512 channels (times width), strides 1, 2, 2, 2.

    Args:
        width: channel multiplier, a decimal string; "0.25" has a stem of 16 channels.

    Returns:
        The body and its feature count, 512 at width 1. The map before the last block is the output of the
        second-to-last block of the last stage.
    """
    widths = tuple(channels(base, width) for base in (64, 128, 256, 512))
    return _ResNetBody(widths, (2, 2, 2, 2)), widths[-1]
