"""A frozen copy of a network with every batch normalisation folded into its convolution."""

import copy
from collections.abc import Iterator

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from poisonsets.victims.networks.classifier import Body, Classifier, ConvBN
from poisonsets.victims.networks.library import Activation


def folded(network: Classifier) -> Classifier:
    """A copy on the same device that computes what the network does in eval mode, cheaper and without weight gradients.

    Every convolution of a `ConvBN` takes over the scale and shift of its batch normalisation (exact up to float32
    rounding), as does each of `Body.normalised`. Other batch normalisations, found only in other libraries' networks,
    stay and use their running statistics. No tensor requires a gradient, convolution weights are channels-last, and
    gradients with respect to the image still flow.
    """
    copied = copy.deepcopy(network).eval()
    for conv, bn in list(foldable(copied)):
        parent, _, name = bn.rpartition(".")
        merged = _merged(copied.get_submodule(conv), copied.get_submodule(bn))
        setattr(copied.get_submodule(parent), name, merged)
    copied.requires_grad_(requires_grad=False)
    return copied.placed(copied.mean.device)


def foldable(network: Classifier) -> Iterator[tuple[str, str]]:
    """The names of every convolution and the batch normalisation that `folded` merges into it."""
    for place, module in network.named_modules():
        if isinstance(module, ConvBN) and isinstance(module.bn, nn.BatchNorm2d):
            yield f"{place}.conv", f"{place}.bn"
    for conv, bn in network.body.normalised() if isinstance(network.body, Body) else ():
        yield f"body.{conv}", f"body.{bn}"


def _merged(conv: nn.Module, bn: nn.Module) -> nn.Module:
    """What is left of the normalisation once the convolution does both: an identity, or its activation."""
    if not isinstance(conv, nn.Conv2d) or not isinstance(bn, nn.BatchNorm2d):
        raise TypeError("only a convolution and its batch normalisation can be merged")
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        raise TypeError("batch normalisation without running statistics has no eval mode to fold")
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, bn.eps, bn.weight, bn.bias)
    # timm's have an activation behind them.
    steps = [getattr(bn, name) for name in ("drop", "act") if isinstance(getattr(bn, name, None), nn.Module)]
    return Activation(*steps) if steps else nn.Identity()
