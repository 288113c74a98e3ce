"""Networks as they are after training."""

from __future__ import annotations

import torch
from torch import nn

from poisonsets.victims.networks import Classifier, build

HALF = ("0.5", "0.5", "0.5")


def lived_in(name: str, width: str = "0.25", classes: int = 4) -> Classifier:
    """In training mode, with batch normalisation far from the identity."""
    generator = torch.Generator().manual_seed(3)
    network = build(name, classes, width, HALF, HALF, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.5, 0.5, generator=generator)
    return network
