"""The one shape of a network here: normalisation of pixels in 0..1, a body that gives features, a head."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.enlarge import Enlarge
from poisonsets.victims.networks.initial import pytorch_defaults
from poisonsets.victims.networks.shape import Shape


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that fixes a network's shape and normalisation, but not its weights.

    Attributes:
        name: a registered name, for instance `resnet18`.
        classes: outputs of the head.
        width: multiplier of every channel count, a plain decimal string.
        mean, std: the normalisation of the three channels, decimal strings in units of 0..1.
        input: the side, in pixels, that the first layer brings images to; None where they stay as they are.
    """

    name: str
    classes: int
    width: str
    mean: tuple[str, str, str]
    std: tuple[str, str, str]
    input: int | None = None

    @property
    def shape(self) -> Shape:
        """Without classes and normalisation."""
        return Shape(self.name, self.width, self.input)


class Body(nn.Module):
    """What a network family makes: everything between the normalisation and the head.

    `forward` takes normalised images, float32 [N, 3, H, W], and returns the map that enters the last block, float32
    [N, C, h, w], and the penultimate features, float32 [N, D].

    Attributes:
        smallest: the shortest image side, in pixels, that the layers can take.
        made_for: the side of the images that the network is published for, where its library says.
    """

    smallest: int = 1
    made_for: int | None = None

    def initialise(self, head: nn.Linear, generator: torch.Generator) -> None:
        """Draw the body's weights, then the head's, on the CPU: PyTorch's defaults unless a family publishes others."""
        pytorch_defaults(self, generator)
        pytorch_defaults(head, generator)

    def outputs(self) -> tuple[nn.Module, ...]:
        """The modules whose outputs dropout acts on, in order of use; empty where there are none."""
        return ()

    def normalised(self) -> tuple[tuple[str, str], ...]:
        """The places of each convolution and of the batch normalisation that alone takes its output, besides `ConvBN`.

        Asked of a frozen copy that is to be folded.
        """
        return ()


class Classifier(nn.Module):
    """An image classifier whose first layers are `Enlarge`, where its spec has an input size, and its normalisation.

    `body` gives `feature_width` features. The input size is one of the state's tensors, like the normalisation, so that
    weights used at two sizes have two digests.
    """

    mean: Tensor
    std: Tensor
    input: Tensor

    def __init__(self, spec: NetworkSpec, body: Body, feature_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.feature_width = feature_width
        self.body = body
        self.head = nn.Linear(feature_width, spec.classes)
        self.register_buffer("mean", channel_values(spec.mean))
        self.register_buffer("std", channel_values(spec.std))
        self.enlarge: nn.Module = nn.Identity()
        if spec.input is not None:
            self.enlarge = Enlarge(spec.input)
            self.register_buffer("input", torch.tensor([spec.input]))

    def placed(self, device: torch.device) -> Self:
        """This network, moved to a device with its filters channels-last, as the views of images are laid.

        Files and digests know nothing of the layout; a convolution's last bits depend on it.
        """
        return self.to(memory_format=torch.channels_last).to(device)

    def features(self, images: Tensor) -> Tensor:
        """The input of the head, float32 [N, feature_width], of images float32 [N, 3, H, W] in 0..1."""
        return self.stages(images)[1]

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two feature sets that end-to-end feature attacks compare, from one forward pass.

        Args:
            images: float32 [N, 3, H, W] in 0..1.

        Returns:
            The map before the last block, float32 [N, C, h, w], and the head's input, float32 [N, feature_width].

        Raises:
            ValueError: the images are too small for the network.
        """
        images = self.enlarge(images)
        if min(images.shape[-2:]) < self.body.smallest:
            raise ValueError(f"wanted at least {self.body.smallest}x{self.body.smallest}")
        stages: tuple[Tensor, Tensor] = self.body((images - self.mean) / self.std)
        return stages

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 [N, classes] of images float32 [N, 3, H, W] in 0..1."""
        logits: Tensor = self.head(self.features(images))
        return logits


class ConvBN(nn.Module):
    """A convolution and its batch normalisation, computed as one convolution in eval mode.

    There the scale and shift enter weight and bias inside the graph, by plain operations, so that gradients of any
    order reach the parameters of both; values are those of the pair up to float32 rounding. `folded` makes it
    permanent.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel, odd; half of it is the zero padding.
        stride, groups: of the convolution; `groups=inputs` for a depthwise one.
        bias: whether the convolution has one. The normalisation makes it idle, but it counts as parameters, and its
            gradient is not 0 in eval mode.
    """

    conv: nn.Conv2d
    bn: nn.Module

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, outputs, H / stride, W / stride] of float32 [N, inputs, H, W]."""
        conv, bn = self.conv, self.bn
        if not isinstance(bn, nn.BatchNorm2d) or bn.training:
            normalised: Tensor = bn(conv(images))
            return normalised
        scale, shift = _scale_and_shift(bn)
        weight = conv.weight * scale.view(-1, 1, 1, 1)
        bias = shift if conv.bias is None else shift + conv.bias * scale
        return F.conv2d(images, weight, bias, conv.stride, conv.padding, groups=conv.groups)


def _scale_and_shift(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The factors and offsets [C] of batch normalisation by its running statistics."""
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        raise TypeError("batch normalisation without running statistics has no eval mode to fold")
    scale = bn.weight / torch.sqrt(variance + bn.eps)
    return scale, bn.bias - mean * scale


def refuse_width(name: str, width: str) -> None:
    """Raise a UsageError unless the width is 1: other libraries' networks come in no other."""
    if width != "1":
        raise UsageError(f"{name} has width 1 only, found {width}", "Leave the width out")


def channels(base: int, width: str) -> int:
    """A layer's channel count at a width multiplier: max(1, round(base * width)), halves to even."""
    return max(1, round(base * Decimal(width)))


def averaged(maps: Tensor, side: int) -> Tensor:
    """Maps [N, C, h, w] averaged to [N, C, side, side], unchanged if they have that size.

    Values are those of an adaptive average pool, whose gradient may differ from run to run on a GPU; this one does not.
    """
    height, width = maps.shape[-2:]
    if (height, width) == (side, side):
        return maps
    if side == 1:
        return maps.mean((2, 3), keepdim=True)
    if height % side == 0 and width % side == 0:
        return F.avg_pool2d(maps, (height // side, width // side))
    down, across = (_windows(size, side, maps) for size in (height, width))
    members = (down[:, None, :, None] * across[None, :, None, :]).reshape(height * width, side * side)
    # Sums come first, for halves and thirds would be rounded in bfloat16.
    sums = maps.flatten(2) @ members
    return (sums / members.sum(0).to(sums.dtype)).view(*maps.shape[:2], side, side)


def _windows(size: int, side: int, like: Tensor) -> Tensor:
    """1 where a pixel (rows) is in a window (columns) of an adaptive pool, [size, side] of the dtype of `like`."""
    pixels = torch.arange(size, device=like.device)[:, None]
    windows = torch.arange(side, device=like.device)
    first, past = windows * size // side, ((windows + 1) * size + side - 1) // side
    return ((pixels >= first) & (pixels < past)).to(like.dtype)


def channel_values(values: tuple[str, str, str]) -> Tensor:
    """The float32 [1, 3, 1, 1] tensor of three decimal strings."""
    return torch.tensor([float(value) for value in values], dtype=torch.float32).reshape(1, 3, 1, 1)
