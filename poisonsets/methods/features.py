"""Shared by the feature attacks: how to read features, which targets to reach, and how to minimise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from poisonsets.interface import Context, Task
from poisonsets.methods.augment import augment_images, draw_views
from poisonsets.methods.descent import OptimiserSpec
from poisonsets.surrogates import Surrogate


def steps_between_looks(device: torch.device) -> int:
    """After how many steps the host looks which trials or poisons have finished, to leave them out of the batch.

    Until then they are computed and kept as they are. To look costs nothing on a CPU; elsewhere it waits for the
    device.
    """
    return 1 if device.type == "cpu" else 16


@dataclass(frozen=True)
class FeatureSpec:
    """How an attack reads a network's features.

    Attributes:
        maps: whether to read the map before the last block besides the penultimate features.
        dropout: share of each block's output values to drop.
        draws: passes with fresh dropout masks, whose features are averaged; without dropout there is one.
    """

    maps: bool = False
    dropout: float = 0.0
    draws: int = 1

    def read(self, network: Surrogate, images: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
        """Map a block's images, float32 [T, P, 3, H, W] in 0..1, to features; gradients flow to the images.

        Each trial's CPU generator draws its masks. Returns the map, float32 [T, P, C, h, w], if `maps`, then the
        penultimate features, float32 [T, P, D].
        """
        if self.dropout == 0:
            flat = images.flatten(0, 1)
            read = network.stages(flat) if self.maps else (network.features(flat),)
            return tuple(one.view(*images.shape[:2], *one.shape[1:]) for one in read)
        # Trial by trial: a mask drawn for a whole block would depend on its other trials.
        each = [self._average(network, *pair) for pair in zip(images, generators, strict=True)]
        return tuple(torch.stack(layer) for layer in zip(*each, strict=True))

    def _average(self, network: Surrogate, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        first = 0 if self.maps else 1
        passes = [network.stages(images, dropout=self.dropout, generator=generator)[first:] for _ in range(self.draws)]
        return tuple(torch.stack(layer).mean(0) for layer in zip(*passes, strict=True))


def target_features(
    task: Task, context: Context, features: FeatureSpec, *, views: int = 1
) -> tuple[tuple[Tensor, ...], ...]:
    """The features of a block's targets in each surrogate, in the order of `FeatureSpec.read`, without gradients.

    A trial's several targets are views of one object (the multi-target mode of Aghakhani et al. 2021); every attack
    averages its loss over them. With dropout the targets' features are drawn once and kept, as published.

    Args:
        task, context: give the targets, the surrogates, and the generators of views and masks.
        features: how to read them.
        views: V of each target: itself, and V - 1 randomly shifted (and, if the base allows it, mirrored) copies.

    Returns:
        For each surrogate float32 [T, K V, C, h, w] if maps are read, and float32 [T, K V, D].
    """
    images = _with_views(task.targets, context, views)
    with torch.no_grad():
        return tuple(features.read(network, images, context.generators) for network in context.surrogates)


def feature_optimiser(
    *, steps: int, learning_rate: float, optimiser: Literal["adam", "signed-adam"], restarts: int, augment: bool
) -> OptimiserSpec:
    """How the feature attacks minimise: `adam` as in their papers, `signed-adam` as in Witches' Brew.

    Adam keeps its step size and starts at the bases, or with several restarts, which would all end in one place, at
    random perturbations. Signed Adam always starts there and decays its step size (Geiping et al. 2021).
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
    """The targets, then their other views, [T, K V, 3, H, W]."""
    if views == 1:
        return targets
    repeated = targets.repeat(1, views - 1, 1, 1, 1)
    drawn = torch.stack([draw_views(repeated.shape[1], generator) for generator in context.generators])
    seen = augment_images(repeated, drawn.to(targets.device), context.surrogates[0].mean, mirror=context.mirror)
    return torch.cat([targets, seen], dim=1)
