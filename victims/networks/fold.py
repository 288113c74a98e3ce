"""A frozen copy of a network with every batch normalisation folded into its convolution."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from poisonsets.victims.networks.classifier import Classifier, ConvBN


def folded(network: Classifier) -> Classifier:
    """The same function of the image as the network in eval mode, cheaper and without gradients of weights.

    Every convolution of a `ConvBN` takes over the scale and shift of its batch normalisation (exact up to rounding of
    float32), and so does one that stands in an `nn.Sequential` right before a batch normalisation. Other batch
    normalisations, which only torchvision's networks have, stay and run on their statistics. No tensor requires a
    gradient, and convolution weights lie channels-last. Gradients with respect to the image still flow.

    Args:
        network: left as it is.

    Returns:
        A copy on the same device, in eval mode.
    """
    copied = copy.deepcopy(network).eval()
    for module in list(copied.modules()):
        if isinstance(module, ConvBN):
            module.bn = _merged(module.conv, module.bn)
        elif type(module).forward is nn.Sequential.forward:
            layers = list(module.named_children())
            for (_, conv), (name, bn) in itertools.pairwise(layers):
                setattr(module, name, _merged(conv, bn))
    copied.requires_grad_(requires_grad=False)
    copied.to(memory_format=torch.channels_last)
    return copied


def _merged(conv: nn.Module, bn: nn.Module) -> nn.Module:
    """What is left of the second module once the first does both; the second itself where that cannot be."""
    if not isinstance(conv, nn.Conv2d) or not isinstance(bn, nn.BatchNorm2d):
        return bn
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        return bn
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, bn.eps, bn.weight, bn.bias)
    return nn.Identity()
