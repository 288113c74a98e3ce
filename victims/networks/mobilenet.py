"""`mobilenetv2`: inverted residuals with depthwise convolutions, for 32x32 and 64x64 images.

Source: Sandler et al. (2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"), in the variant of Schwarzschild
et al. (2021, "Just How Toxic is Data Poisoning?"), which Geiping et al. (2021, "Witches' Brew") use too. It differs
from torchvision's: stem and second stage keep the resolution, ReLU in place of ReLU6, an expanding convolution even
where it expands by 1, a projected shortcut where a block of stride 1 changes its channels, no dropout, PyTorch's
default initialisation. What differs from the benchmark's code: one adaptive average pool in place of one or two fixed
ones (the same at 32x32 and 64x64), and no random numbers are drawn for its layer drop of probability 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.victims.networks import register
from poisonsets.victims.networks.classifier import Body, ConvBN, channels

# Expansion, channels, blocks, stride of the first of them: table 2 of Sandler et al., but for the second stride.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.expand = ConvBN(inputs, hidden, kernel=1)
        self.depthwise = ConvBN(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.project = ConvBN(hidden, outputs, kernel=1)
        self.residual = stride == 1
        changes = self.residual and inputs != outputs
        self.shortcut = ConvBN(inputs, outputs, kernel=1) if changes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.project(torch.relu_(self.depthwise(torch.relu_(self.expand(images)))))
        return found.add_(self.shortcut(images)) if self.residual else found


class _MobileNetBody(Body):
    def __init__(self, width: str) -> None:
        super().__init__()
        inputs = channels(32, width)
        self.stem = ConvBN(3, inputs, kernel=3)
        blocks: list[nn.Module] = []
        for expansion, base, count, first in _STAGES:
            outputs = channels(base, width)
            for place in range(count):
                stride = first if place == 0 else 1
                blocks.append(_InvertedResidual(inputs, outputs, expansion=expansion, stride=stride))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvBN(inputs, channels(1280, width), kernel=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        before = self.blocks(torch.relu_(self.stem(images)))
        return before, F.adaptive_avg_pool2d(torch.relu_(self.last(before)), 1).flatten(1)

    def outputs(self) -> tuple[nn.Module, ...]:
        # Dropping before the last ReLU is dropping after it.
        return (*self.blocks, self.last)


@register("mobilenetv2")
def mobilenetv2(width: str) -> tuple[Body, int]:
    """Seventeen inverted residuals of 16 to 320 channels and a 1x1 convolution to 1280, the features at width 1.

    Unlike in the paper that convolution shrinks with the width too. The map before the last block is what enters it.
    """
    return _MobileNetBody(width), channels(1280, width)
