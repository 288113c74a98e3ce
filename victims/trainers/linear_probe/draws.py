"""Every random choice of one linear-probe victim: a fresh linear head on a frozen extractor's features.

Source: Schwarzschild et al. (2021), section 4 and learning_module.py: the extractor stays in eval mode, the head gets
PyTorch's default initialisation, SGD with cross-entropy. What differs: features are remembered instead of recomputed
each epoch (the same numbers), and every random choice comes from one seeded generator.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from poisonsets.victims.networks.initial import fresh_head
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.training.views import view_count


@dataclass(frozen=True)
class Draws:
    """Every random choice of one victim, on the CPU.

    Attributes:
        weight, bias: the head's initial values, float32 [C, D] and [C].
        order: int64 [epochs, N], the order of the rows in each epoch.
        views: int64 [epochs, N], the view each row is seen in (by row, not by place in the order).
    """

    weight: Tensor
    bias: Tensor
    order: Tensor
    views: Tensor


def draw(protocol: Protocol, generator: torch.Generator, *, rows: int, features: int, classes: int) -> Draws:
    """Draw a victim's initial head, orders and views, the same on every device.

    Args:
        protocol: gives epochs and views.
        generator: on the CPU.
        rows: N, images of the training set.
        features, classes: D inputs and C outputs of the head.
    """
    weight, bias = fresh_head(classes, features, generator)
    views = view_count(protocol.pad, flip=protocol.flip)
    orders, drawn = [], []
    for _ in range(protocol.epochs):
        orders.append(torch.randperm(rows, generator=generator))
        drawn.append(torch.randint(views, (rows,), generator=generator))
    return Draws(weight, bias, torch.stack(orders), torch.stack(drawn))


def linear(weight: Tensor, bias: Tensor, *, device: torch.device) -> nn.Linear:
    """A linear layer on the device with copies of these weights [C, D] and biases [C]."""
    classes, features = weight.shape
    # Made without memory first: the constructor would draw from the global generator.
    layer = nn.Linear(features, classes, device="meta").to_empty(device=device)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
