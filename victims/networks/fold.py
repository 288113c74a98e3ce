"""A frozen copy of a network with every batch normalisation folded into its convolution."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from poisonsets.victims.networks.classifier import Classifier, ConvBN


def folded(network: Classifier) -> Classifier:
    """The same function of the image as the network in eval mode, cheaper and without gradients of weights.

    Every convolution takes over the scale and shift of the batch normalisation behind it (exact up to
    rounding of float32), no tensor requires a gradient, and convolution weights lie channels-last.
    Gradients with respect to the image still flow.

    Args:
        network: left as it is.

    Returns:
        A copy on the same device, in eval mode.
    """
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        if isinstance(module, ConvBN) and isinstance(module.bn, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    copied.requires_grad_(requires_grad=False)
    copied.to(memory_format=torch.channels_last)
    return copied
