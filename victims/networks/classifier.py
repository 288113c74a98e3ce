"""The one shape of a network here: normalisation of pixels in 0..1, a body that gives features, a head."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import torch
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


class Classifier(nn.Module):
    """An image classifier whose first layer is its normalisation.

    Args:
        spec: what it is.
        body: maps normalised float32 [N, 3, H, W] to features float32 [N, feature_width].
        feature_width: the number of features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: NetworkSpec, body: nn.Module, feature_width: int) -> None:
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
        features: Tensor = self.body((images - self.mean) / self.std)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 [N, classes] of images float32 [N, 3, H, W] in 0..1."""
        logits: Tensor = self.head(self.features(images))
        return logits


class ConvBN(nn.Module):
    """A bias-free convolution and its batch normalisation: the pair that `folded` joins into one."""

    conv: nn.Conv2d
    bn: nn.Module

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, outputs, H / stride, W / stride] of float32 [N, inputs, H, W]."""
        normalised: Tensor = self.bn(self.conv(images))
        return normalised


def channels(base: int, width: str) -> int:
    """A layer's channel count at a width multiplier: max(1, round(base * width)), halves to even."""
    return max(1, round(base * Decimal(width)))


def channel_values(values: tuple[str, str, str]) -> Tensor:
    """The float32 [1, 3, 1, 1] tensor of three decimal strings."""
    return torch.tensor([float(value) for value in values], dtype=torch.float32).reshape(1, 3, 1, 1)
