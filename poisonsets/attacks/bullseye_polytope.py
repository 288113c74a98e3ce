"""Bullseye polytope, mean form: the poisons' mean feature moves onto the target's."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from poisonsets.budget import project
from poisonsets.features import target_features
from poisonsets.interface import Attack, Context, Crafted, FeatureNetwork, Range, Task, Traits
from poisonsets.registry import attack


@attack(
    "bullseye-polytope",
    version=1,
    aliases=("BP", "bullseye"),
    traits=Traits(objective="feature", needs=frozenset({"features"})),
    source="Aghakhani et al. 2021; Schwarzschild et al. 2021",
)
def bullseye_polytope(
    *, steps: Annotated[int, Range(1, 100_000)] = 1200, learning_rate: Annotated[float, Range(1e-9, 1e3)] = 0.04
) -> Attack:
    """Minimise the mean over networks of ||mean_j f(x_j) - f(t)|| / ||f(t)|| with Adam, projected after each step.

    Aghakhani et al. (2021), equation 3 (single-layer form); the norm is not squared, as in the authors' code. Adam
    (0.9, 0.999) works on images divided by the first surrogate's standard deviation, as published, which makes a step
    of 0.04 about two levels. What differs: all trials of a block are optimised at once. Adam acts on each
    value alone, so a trial's poisons depend on its block through float rounding alone, which 120 sign-like steps can
    grow to several levels; gradients of the network's parameters are not computed.

    Args:
        steps: Adam steps; published 1,200 in the benchmark, 800 to 4,000 by the authors.
        learning_rate: step size in units of the standard deviation; published 0.04.
    """

    def craft(task: Task, context: Context) -> Crafted:
        scale = context.surrogates[0].std.view(1, 1, 3, 1, 1)
        scaled = (task.bases / scale).requires_grad_()
        optimiser = torch.optim.Adam([scaled], lr=learning_rate, betas=(0.9, 0.999))
        wanted = target_features(context.surrogates, task.targets)
        history = []
        for step in range(steps):
            loss = _loss(scaled * scale, wanted, context.surrogates)
            history.append(loss.detach())
            optimiser.zero_grad()
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                scaled.copy_(project(scaled * scale, task.bases, task.budget) / scale)
            context.progress(step + 1, steps)
        with torch.no_grad():
            images = project(scaled * scale, task.bases, task.budget)
            history.append(_loss(images, wanted, context.surrogates))
        curves = torch.stack(history, dim=1).tolist()
        return Crafted(images, tuple(tuple(curve) for curve in curves))

    return craft


def _loss(images: Tensor, wanted: tuple[Tensor, ...], networks: tuple[FeatureNetwork, ...]) -> Tensor:
    """The relative distance of each trial's mean feature from its target's, [T], averaged over the networks."""
    trials, poisons = images.shape[:2]
    distances = []
    for network, goal in zip(networks, wanted, strict=True):
        mean = network.features(images.flatten(0, 1)).view(trials, poisons, -1).mean(1)
        distances.append((mean - goal).norm(dim=1) / goal.norm(dim=1).clamp_min(1e-12))
    return torch.stack(distances).mean(0)
