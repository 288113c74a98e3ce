"""`resnet18`, `resnet34`, `resnet32`: the residual networks of the published poisoning benchmark.

Source: He et al. (2016, "Deep Residual Learning for Image Recognition"), in the variants of Schwarzschild et al. (2021,
"Just How Toxic is Data Poisoning?"). What differs from the benchmark's code: the final average pool is an adaptive one
(the same at the sizes it was made for, and defined for others), and no random numbers are drawn for its layer drop of
probability 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.victims.networks import register
from poisonsets.victims.networks.classifier import Body, ConvBN, channels
from poisonsets.victims.networks.initial import kaiming_normal


class _PaddedShortcut(nn.Module):
    """Every stride-th pixel, and zero channels on both sides: option A of He et al."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        missing = outputs - inputs
        self.missing = (missing // 2, missing - missing // 2)

    def forward(self, images: Tensor) -> Tensor:
        return F.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.missing))


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int, projected: bool) -> None:
        super().__init__()
        self.first = ConvBN(inputs, outputs, kernel=3, stride=stride)
        self.second = ConvBN(outputs, outputs, kernel=3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (
                ConvBN(inputs, outputs, kernel=1, stride=stride)
                if projected
                else _PaddedShortcut(inputs, outputs, stride=stride)
            )

    def forward(self, images: Tensor) -> Tensor:
        # In place: each map is this block's own, and nothing reads it before the rectifier.
        return torch.relu_(self.second(torch.relu_(self.first(images))).add_(self.shortcut(images)))


class _ResNetBody(Body):
    def __init__(
        self, widths: tuple[int, ...], blocks: tuple[int, ...], *, stem: ConvBN, projected: bool = True
    ) -> None:
        super().__init__()
        self.stem = stem
        stages: list[nn.Module] = []
        inputs = widths[0]
        for stage, (outputs, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(_BasicBlock(inputs, outputs, stride=stride, projected=projected))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        before = self.blocks[:-1](torch.relu_(self.stem(images)))
        return before, F.adaptive_avg_pool2d(self.blocks[-1](before), 1).flatten(1)

    def outputs(self) -> tuple[nn.Module, ...]:
        return tuple(self.blocks)


class _NarrowBody(_ResNetBody):
    def initialise(self, head: nn.Linear, generator: torch.Generator) -> None:
        kaiming_normal(self, generator)
        kaiming_normal(head, generator)


@register("resnet18")
def resnet18(width: str) -> tuple[Body, int]:
    """Basic blocks [2, 2, 2, 2] of 64, 128, 256 and 512 channels, strides 1, 2, 2, 2; 512 features at width 1.

    For 32x32 images. It differs from torchvision's: a 3x3 stem with stride 1, no max-pool, PyTorch's default
    initialisation. The map before the last block is the output of the second-to-last block of the last stage.
    """
    widths = tuple(channels(base, width) for base in (64, 128, 256, 512))
    return _ResNetBody(widths, (2, 2, 2, 2), stem=ConvBN(3, widths[0], kernel=3)), widths[-1]


@register("resnet34")
def resnet34(width: str) -> tuple[Body, int]:
    """Basic blocks [3, 4, 6, 3] of 64, 128, 256 and 512 channels behind a 7x7 stem with stride 2; else as `resnet18`.

    For the 64x64 images of TinyImageNet.
    """
    widths = tuple(channels(base, width) for base in (64, 128, 256, 512))
    return _ResNetBody(widths, (3, 4, 6, 3), stem=ConvBN(3, widths[0], kernel=7, stride=2)), widths[-1]


@register("resnet32")
def resnet32(width: str) -> tuple[Body, int]:
    """Basic blocks [5, 5, 5] of 16, 32 and 64 channels, shortcuts without weights (option A); 64 features at width 1.

    The narrow network of 32x32 images that the benchmark's clean-label backdoor was first shown on. All weights, the
    head's too, are drawn Kaiming-normal, as there. The map before the last block is as `resnet18`'s.
    """
    widths = tuple(channels(base, width) for base in (16, 32, 64))
    return _NarrowBody(widths, (5, 5, 5), stem=ConvBN(3, widths[0], kernel=3), projected=False), widths[-1]
