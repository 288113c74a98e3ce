"""Initial weights, drawn from a generator that is passed in."""

import math

import torch
from torch import Tensor, nn


def pytorch_defaults(module: nn.Module, generator: torch.Generator) -> None:
    """What `reset_parameters` does to convolutions, linear layers and batch normalisations, from a generator.

    The module's layers are drawn in the order of `modules()`, on the CPU.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # Kaiming-uniform with a = sqrt(5) is U(+-1/sqrt(fan_in)), the bound of the bias too.
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


def kaiming_normal(module: nn.Module, generator: torch.Generator) -> None:
    """`pytorch_defaults`, then the weights of convolutions and linear layers anew from N(0, 2 / fan_in).

    Source: He et al. (2015, "Delving Deep into Rectifiers"), equation 10.
    """
    pytorch_defaults(module, generator)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=generator)


def fresh_head(classes: int, features: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weights float32 [classes, features], then biases, as PyTorch's linear layers start: U(+-1/sqrt(features))."""
    bound = features**-0.5
    weight = torch.empty(classes, features).uniform_(-bound, bound, generator=generator)
    return weight, torch.empty(classes).uniform_(-bound, bound, generator=generator)
