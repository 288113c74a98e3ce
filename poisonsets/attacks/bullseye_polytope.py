"""Bullseye polytope, mean form: the poisons' mean feature moves onto the target's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack
from poisonsets.settings import Augment, Dropout, FeatureOptimiser, LearningRate, Range, Restarts, Steps

if TYPE_CHECKING:
    from torch import Tensor


@attack(
    "bullseye-polytope",
    version=3,
    aliases=("BP", "bullseye"),
    traits=Traits(objective="feature", needs=frozenset({"features"})),
    source="Aghakhani et al. 2021; Schwarzschild et al. 2021",
)
def bullseye_polytope(
    *,
    steps: Steps = 1200,
    learning_rate: LearningRate = 0.04,
    end_to_end: bool = False,
    dropout: Dropout = 0.0,
    draws: Annotated[int, Range(1, 100)] = 1,
    views: Annotated[int, Range(1, 100)] = 1,
    optimiser: FeatureOptimiser = "adam",
    restarts: Restarts = 1,
    augment: Augment = False,
) -> Attack:
    """Minimise the mean over networks of ||mean_j f(x_j) - f(t)|| / ||f(t)|| with Adam, projected after each step.

    Aghakhani et al. (2021), equation 3; the norm is not squared, as in the authors' code. Adam (0.9, 0.999) works on
    images divided by the first surrogate's standard deviation, as published. Several targets of a trial are views of
    one object, the authors' multi-target mode: the loss is the mean over them. Schwarzschild et al. (2021) run it with
    one network and without dropout.

    What differs: all trials of a block are optimised together. Adam acts on each value separately, so a trial's poisons
    depend on its block only through float rounding, which 120 sign-like steps can amplify to several levels. Parameter
    gradients are not computed. Dropout acts on block outputs, whatever the network was trained with. With `end_to_end`,
    the published loss divides by a target map's norm at each position; here by at least 1 % of the mean norm.

    Args:
        steps: optimiser steps; published 1,200 in the benchmark, 800 to 4,000 by the authors.
        learning_rate: step size in units of the images' standard deviation; published 0.04, about two levels.
        end_to_end: adds the map before the last block, for victims that train all layers: each position's channel
            vector is a feature; the loss is the mean over positions, then over the map and the penultimate features.
        draws: passes per step with fresh dropout, whose features are averaged; no effect without dropout; published 1,
            and 3 and 5 (BP-3x, BP-5x).
        views: of each target: itself and `views` - 1 augmented copies, fixed for the whole run; published 1.
    """
    import torch

    from poisonsets.methods.descent import descend, differentiable
    from poisonsets.methods.features import FeatureSpec, feature_optimiser, target_features

    features = FeatureSpec(maps=end_to_end, dropout=dropout, draws=draws)
    spec = feature_optimiser(
        steps=steps, learning_rate=learning_rate, optimiser=optimiser, restarts=restarts, augment=augment
    )

    def craft(task: Task, context: Context) -> Crafted:
        targets = target_features(task, context, features, views=views)
        distances = [[distance_from(goal) for goal in goals] for goals in targets]

        def loss(images: Tensor) -> Tensor:
            found: list[Tensor] = []
            for network, from_goals in zip(context.surrogates, distances, strict=True):
                layers = features.read(network, images, context.generators)
                found.extend(apart(layer) for layer, apart in zip(layers, from_goals, strict=True))
            return torch.stack(found).mean(0)

        return descend(task, context, differentiable(loss), spec)

    return craft


def distance_from(targets: Tensor) -> Callable[[Tensor], Tensor]:
    """What maps features to their mean's distance from each target's, relative to the target's length.

    targets are float32 [T, K, C, ...]; axes after C are positions, each with a vector of C channels. The function maps
    features float32 [T, P, C, ...] to float32 [T], the mean over targets and positions.
    """
    length = targets[..., None].flatten(3).norm(dim=2)
    # At a nearly dead position the target's norm is no scale: 1 % of the mean over positions stands in.
    length = length.maximum(1e-2 * length.mean(2, keepdim=True)).clamp_min(1e-12)

    def distance(features: Tensor) -> Tensor:
        apart = (features.mean(1, keepdim=True) - targets)[..., None].flatten(3).norm(dim=2)
        ratios: Tensor = apart / length
        return ratios.flatten(1).mean(1)

    return distance
