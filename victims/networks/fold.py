"""A frozen copy of a network with every batch normalisation folded into its convolution."""

import copy
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
    for module in list(copied.modules()):
        if isinstance(module, ConvBN):
            module.bn = _merged(module.conv, module.bn)
        elif type(module).forward is nn.Sequential.forward:
            for (_, conv), (name, bn) in pairwise(list(module.named_children())):
                setattr(module, name, _merged(conv, bn))
    copied.requires_grad_(requires_grad=False)
    return copied.placed(copied.mean.device)


def _merged(conv: nn.Module, bn: nn.Module) -> nn.Module:
    """The second module's replacement once the first does both: an identity, or itself where they cannot be merged."""
    if not isinstance(conv, nn.Conv2d) or not isinstance(bn, nn.BatchNorm2d):
        return bn
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None:
        return bn
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, bn.eps, bn.weight, bn.bias)
    return nn.Identity()
