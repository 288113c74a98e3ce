"""A frozen copy of a network with every batch normalisation folded into its convolution."""

import copy
from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from poisonsets.victims.networks.classifier import Classifier, ConvBN


def folded(network: Classifier) -> Classifier:
    """A copy on the same device that computes what the network does in eval mode, cheaper and without weight gradients.

    Every convolution of a `ConvBN` takes over the scale and shift of its batch normalisation (exact up to float32
    rounding), as does one right before a batch normalisation in an `nn.Sequential`. Other batch normalisations, found
    only in torchvision's networks, stay and use their running statistics. No tensor requires a gradient, convolution
    weights are channels-last, and gradients with respect to the image still flow.
    """
    copied = copy.deepcopy(network).eval()
    for conv, bn in list(foldable(copied)):
        parent, _, name = bn.rpartition(".")
        merged = _merged(copied.get_submodule(conv), copied.get_submodule(bn))
        setattr(copied.get_submodule(parent), name, merged)
    copied.requires_grad_(requires_grad=False)
    return copied.placed(copied.mean.device)


def foldable(network: nn.Module) -> Iterator[tuple[str, str]]:
    """The names of every convolution and the batch normalisation that `folded` merges into it."""
    for prefix, module in network.named_modules():
        start = f"{prefix}." if prefix else ""
        if isinstance(module, ConvBN):
            pairs = [("conv", "bn")]
        elif type(module).forward is nn.Sequential.forward:
            pairs = [(one, other) for (one, _), (other, _) in pairwise(list(module.named_children()))]
        else:
            pairs = []
        for conv, bn in pairs:
            normalisation = module.get_submodule(bn)
            if (
                isinstance(module.get_submodule(conv), nn.Conv2d)
                and isinstance(normalisation, nn.BatchNorm2d)
                and normalisation.running_var is not None
            ):
                yield start + conv, start + bn


def _merged(conv: nn.Module, bn: nn.Module) -> nn.Module:
    """An identity in place of the normalisation, once the convolution does both."""
    if not isinstance(conv, nn.Conv2d) or not isinstance(bn, nn.BatchNorm2d):
        raise TypeError("only a convolution and its batch normalisation can be merged")
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        raise TypeError("batch normalisation without running statistics has no eval mode to fold")
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, bn.eps, bn.weight, bn.bias)
    return nn.Identity()
