"""The one shape of a network here: normalisation of pixels in 0..1, a body that gives features, a head."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that fixes a network's shape and normalisation, but not its weights.

    Attributes:
        name: the registered family member, for instance `resnet18`.
        classes: outputs of the head.
        width: multiplier of every channel count, a plain decimal string.
        mean, std: the normalisation of the three channels, decimal strings in units of 0..1.
    """

    name: str
    classes: int
    width: str
    mean: tuple[str, str, str]
    std: tuple[str, str, str]


class Body(nn.Module):
    """What a network family makes: everything between the normalisation and the head.

    `forward` takes normalised images, float32 [N, 3, H, W], and returns the map that enters the last block, float32
    [N, C, h, w], and the penultimate features, float32 [N, D].
    """

    def outputs(self) -> tuple[nn.Module, ...]:
        """The modules whose output values a dropout network drops, in the order of their use; empty for none."""
        return ()


class Classifier(nn.Module):
    """An image classifier whose first layer is its normalisation.

    Args:
        spec: what it is.
        body: of `feature_width` features.
        feature_width: the number of features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: NetworkSpec, body: Body, feature_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.feature_width = feature_width
        self.body = body
        self.head = nn.Linear(feature_width, spec.classes)
        self.register_buffer("mean", channel_values(spec.mean))
        self.register_buffer("std", channel_values(spec.std))

    def features(self, images: Tensor) -> Tensor:
        """The input of the head.

        Args:
            images: float32 [N, 3, H, W] in 0..1.

        Returns:
            float32 [N, feature_width].
        """
        return self.stages(images)[1]

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two feature sets that end-to-end feature attacks compare, from one forward pass.

        Args:
            images: float32 [N, 3, H, W] in 0..1.

        Returns:
            The map before the last block, float32 [N, C, h, w], and the input of the head, float32
            [N, feature_width].
        """
        stages: tuple[Tensor, Tensor] = self.body((images - self.mean) / self.std)
        return stages

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 [N, classes] of images float32 [N, 3, H, W] in 0..1."""
        logits: Tensor = self.head(self.features(images))
        return logits


class ConvBN(nn.Module):
    """A bias-free convolution and its batch normalisation, which in eval mode are computed as one convolution.

    In eval mode the normalisation's scale and shift enter the weight and the bias inside the graph, by plain
    operations, so that gradients (in either direction) reach the convolution's weight and the normalisation's; the
    values are those of the pair up to rounding of float32. `folded` makes that permanent.
    """

    conv: nn.Conv2d
    bn: nn.Module

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, outputs, H / stride, W / stride] of float32 [N, inputs, H, W]."""
        bn = self.bn
        if not isinstance(bn, nn.BatchNorm2d) or bn.training:
            normalised: Tensor = bn(self.conv(images))
            return normalised
        scale, shift = _scale_and_shift(bn)
        weight = self.conv.weight * scale.view(-1, 1, 1, 1)
        return F.conv2d(images, weight, shift, self.conv.stride, self.conv.padding)


def _scale_and_shift(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What batch normalisation by its running statistics multiplies by and adds, [C] each."""
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        raise TypeError("batch normalisation without running statistics has no eval mode to fold")
    scale = bn.weight / torch.sqrt(variance + bn.eps)
    return scale, bn.bias - mean * scale


def channels(base: int, width: str) -> int:
    """A layer's channel count at a width multiplier: max(1, round(base * width)), halves to even."""
    return max(1, round(base * Decimal(width)))


def channel_values(values: tuple[str, str, str]) -> Tensor:
    """The float32 [1, 3, 1, 1] tensor of three decimal strings."""
    return torch.tensor([float(value) for value in values], dtype=torch.float32).reshape(1, 3, 1, 1)
