"""The victim with a frozen feature extractor: a fresh linear head trained alone on its features.

Source: Schwarzschild et al. (2021), section 4 and learning_module.py: the extractor stays in eval mode, the
head gets PyTorch's default initialisation, SGD with cross-entropy. Two things differ: features are
remembered instead of computed anew each epoch (the same numbers), and every random choice comes from one
seeded generator. `train_head` is the loop as it is published, one head at a time, and the reference of
`heads.train_heads`, which scoring uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.manifests.stream import Stream
from poisonsets.victims.device import exact_arithmetic
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.training.pretrain import drop_rate
from poisonsets.victims.training.views import view_count

RowFeatures: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From rows int64 [M] and views int64 [M], both on the CPU, to features float32 [M, D] on the device."""


@dataclass(frozen=True)
class Draws:
    """Every random choice of one victim, on the CPU.

    Attributes:
        weight: float32 [C, D], the head's initial weights.
        bias: float32 [C].
        order: int64 [epochs, N], the order of the rows in each epoch.
        views: int64 [epochs, N], the view each row is seen in (by row, not by place in the order).
    """

    weight: Tensor
    bias: Tensor
    order: Tensor
    views: Tensor


def victim_generator(victim_seed: int, rows: TrainingRows) -> torch.Generator:
    """The generator of one victim.

    Args:
        victim_seed: which of several victims, 0-based.
        rows: those of the clean control, so that control and poisoned victim draw alike and differ in the
            poisons alone; the poisoned rows where there is no control.
    """
    return torch.Generator().manual_seed(Stream("victim", victim_seed, rows.digest()).seed())


def draw(protocol: Protocol, generator: torch.Generator, *, rows: int, features: int, classes: int) -> Draws:
    """Draw a victim's initial head, orders and views.

    Args:
        protocol: gives epochs and views.
        generator: on the CPU; the draws are the same on every device.
        rows: N, images of the training set.
        features: D, inputs of the head.
        classes: C, its outputs.
    """
    # Kaiming-uniform with a = sqrt(5), PyTorch's default, is U(+-1/sqrt(D)) for weights and biases alike.
    bound = features**-0.5
    weight = torch.empty(classes, features).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(classes).uniform_(-bound, bound, generator=generator)
    views = view_count(protocol.pad, flip=protocol.flip)
    orders, drawn = [], []
    for _ in range(protocol.epochs):
        orders.append(torch.randperm(rows, generator=generator))
        drawn.append(torch.randint(views, (rows,), generator=generator))
    return Draws(weight, bias, torch.stack(orders), torch.stack(drawn))


@exact_arithmetic()
def train_head(
    row_features: RowFeatures, labels: Tensor, draws: Draws, protocol: Protocol, *, device: torch.device
) -> nn.Linear:
    """Train a linear head on features, nothing else.

    Args:
        row_features: gives the features of rows in views.
        labels: int64 [N], positions of the classes.
        draws: every random choice.
        protocol: epochs, batch, optimiser.
        device: where the features come from and the head lies.

    Returns:
        The head after the last epoch.
    """
    head = linear(draws.weight, draws.bias, device=device)
    optimizer = torch.optim.SGD(
        head.parameters(),
        lr=float(protocol.learning_rate),
        momentum=float(protocol.momentum),
        weight_decay=float(protocol.weight_decay),
    )
    for epoch, order in enumerate(draws.order):
        if epoch in protocol.lr_milestones:
            drop_rate(optimizer, float(protocol.lr_gamma))
        inputs = row_features(order, draws.views[epoch][order])
        wanted = labels[order].to(device)
        for start in range(0, len(order), protocol.batch):
            stop = start + protocol.batch
            loss = F.cross_entropy(head(inputs[start:stop]), wanted[start:stop])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
    return head


def linear(weight: Tensor, bias: Tensor, *, device: torch.device) -> nn.Linear:
    """A linear layer with copies of these values, weights [C, D] and bias [C], on the device."""
    classes, features = weight.shape
    # Made without memory first: the constructor would draw from the global generator.
    layer = nn.Linear(features, classes, device="meta").to_empty(device=device)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
