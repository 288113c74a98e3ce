"""What the feature attacks share: how features are read, what they are to meet, and how an objective is minimised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from poisonsets.interface import Context, Task
from poisonsets.methods.augment import augment_images, draw_views
from poisonsets.methods.descent import OptimiserSpec
from poisonsets.surrogates import Surrogate


@dataclass(frozen=True)
class FeatureSpec:
    """How an attack reads a network's features.

    Attributes:
        maps: whether the map before the last block is read beside the penultimate features.
        dropout: share of each block's output values that is dropped; 0 is the network itself.
        draws: passes with fresh dropout masks whose features are averaged; without dropout one pass does.
    """

    maps: bool = False
    dropout: float = 0.0
    draws: int = 1

    def read(self, network: Surrogate, images: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
        """The features of a block's images: the penultimate ones, behind the map where it is read.

        Args:
            network: the surrogate; gradients flow through it to the images.
            images: float32 [T, P, 3, H, W] in 0..1.
            generators: one CPU generator a trial, for its masks.

        Returns:
            float32 [T, P, C, h, w] if `maps`, then float32 [T, P, D].
        """
        if self.dropout == 0:
            flat = images.flatten(0, 1)
            read = network.stages(flat) if self.maps else (network.features(flat),)
            return tuple(one.view(*images.shape[:2], *one.shape[1:]) for one in read)
        # Trial by trial: a mask drawn for a whole block would depend on who else is in it.
        each = [self._average(network, *pair) for pair in zip(images, generators, strict=True)]
        return tuple(torch.stack(layer) for layer in zip(*each, strict=True))

    def _average(self, network: Surrogate, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        passes = [
            network.stages(images, dropout=self.dropout, generator=generator)
            if self.maps
            else (network.features(images, dropout=self.dropout, generator=generator),)
            for _ in range(self.draws)
        ]
        return tuple(torch.stack(layer).mean(0) for layer in zip(*passes, strict=True))


def target_features(
    task: Task, context: Context, features: FeatureSpec, *, views: int = 1
) -> tuple[tuple[Tensor, ...], ...]:
    """For each surrogate the features of a block's targets, as `FeatureSpec.read` orders them; no gradient is kept.

    A trial's several targets are views of one object (the multi-target mode of Aghakhani et al. 2021); every attack
    averages its loss over them. With dropout the target's features are drawn once and stay, as published.

    Args:
        task: its targets, float32 [T, K, 3, H, W].
        context: surrogates, and the generators of views and masks.
        features: how they are read.
        views: V of each target: itself, and V - 1 randomly shifted (and, where allowed, mirrored) copies.

    Returns:
        For each surrogate float32 [T, K V, C, h, w] if maps are read, and float32 [T, K V, D].
    """
    images = _with_views(task.targets, context, views)
    with torch.no_grad():
        return tuple(features.read(network, images, context.generators) for network in context.surrogates)


def feature_optimiser(
    *, steps: int, learning_rate: float, optimiser: Literal["adam", "signed-adam"], restarts: int, augment: bool
) -> OptimiserSpec:
    """How the polytope attacks minimise: `adam` as their papers do, `signed-adam` as Witches' Brew does.

    Adam keeps its step size and starts at the bases; with several restarts, which would all end in one place, it
    starts at random perturbations. Signed Adam starts there always and lets its step size fall (Geiping et al. 2021).

    Args:
        steps: of each restart.
        learning_rate: of the first step, in units of the images' standard deviation.
        optimiser: which of the two.
        restarts: of which the one with the lowest objective is kept.
        augment: whether each step sees the poisons in random views.
    """
    signed = optimiser == "signed-adam"
    return OptimiserSpec(
        steps=steps,
        step_size=learning_rate,
        optimiser=optimiser,
        decays=signed,
        restarts=restarts,
        start="normal" if signed or restarts > 1 else "bases",
        augment=augment,
    )


def _with_views(targets: Tensor, context: Context, views: int) -> Tensor:
    """[T, K V, 3, H, W]: the targets, then their views."""
    if views == 1:
        return targets
    repeated = targets.repeat(1, views - 1, 1, 1, 1)
    drawn = torch.stack([draw_views(repeated.shape[1], generator) for generator in context.generators])
    seen = augment_images(repeated, drawn.to(targets.device), context.surrogates[0].mean, mirror=context.mirror)
    return torch.cat([targets, seen], dim=1)
