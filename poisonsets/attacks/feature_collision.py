"""Feature collision (Poison Frogs): each poison alone moves onto the target in feature space."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from poisonsets.budget import project
from poisonsets.features import target_features
from poisonsets.interface import Attack, Context, Crafted, FeatureNetwork, Range, Task, Traits
from poisonsets.registry import attack


@attack(
    "feature-collision",
    version=1,
    aliases=("FC", "poison-frogs"),
    traits=Traits(objective="feature", needs=frozenset({"features"})),
    source="Shafahi et al. 2018; Schwarzschild et al. 2021",
)
def feature_collision(
    *,
    steps: Annotated[int, Range(1, 100_000)] = 120,
    learning_rate: Annotated[float, Range(1e-9, 1e3)] = 0.001,
    decay: Annotated[float, Range(0.01, 0.99)] = 0.2,
    growth: Annotated[float, Range(1, 10)] = 1.0,
    watermark: Annotated[float, Range(0, 1)] = 0.3,
    tolerance: Annotated[float, Range(0, 1)] = 1e-5,
    line_search: Literal["fixed"] = "fixed",  # noqa: ARG001  recorded: names the form
) -> Attack:
    """Minimise ||f(x) - f(t)||^2 for each poison by projected gradient descent with a backtracking step.

    The form is the l-infinity one of Schwarzschild et al. (2021), after Shafahi et al. (2018), equation 1, whose
    penalty ||x - b||^2 the ball replaces. What differs: the published search compares the loss of the current point
    with that of the previous one and, once it rises, keeps comparing the same two, so that 13 of 16 poisons stop
    after one step; here (`line_search=fixed`) a step is tried, kept if the loss falls, and shortened by `decay` if not.
    The watermark start is projected into the ball before the first loss is taken.

    Args:
        steps: gradient evaluations per poison; published 120.
        learning_rate: first step size, for images in 0..1; published 0.001.
        decay: factor on the step size after a rejected step; published 0.2.
        growth: factor on the step size after an accepted step; 1 keeps the published never-growing step.
        watermark: share of the target in the start, w t + (1 - w) b; published 0.3.
        tolerance: a poison is done when an accepted step changes its loss by less than this share; published 1e-5.
        line_search: `fixed` is the corrected search above.
    """

    def craft(task: Task, context: Context) -> Crafted:
        trials, poisons = task.bases.shape[:2]
        bases = task.bases.flatten(0, 1)
        target = task.targets[:, :1].expand(-1, poisons, -1, -1, -1).flatten(0, 1)
        aims = target_features(context.surrogates, task.targets)
        wanted = tuple(aim.repeat_interleave(poisons, dim=0) for aim in aims)
        images = project((1 - watermark) * bases + watermark * target, bases, task.budget)
        loss, gradient = _loss_and_gradient(images, wanted, context.surrogates)
        rate = torch.full_like(loss, learning_rate)
        done = torch.zeros_like(loss, dtype=torch.bool)
        history = [loss.view(trials, poisons).mean(1)]
        for step in range(steps):
            if bool(done.all()):
                break
            tried = project(images - _wide(rate) * gradient, bases, task.budget)
            tried_loss, tried_gradient = _loss_and_gradient(tried, wanted, context.surrogates)
            better = (tried_loss < loss) & ~done
            done |= better & (loss - tried_loss < tolerance * loss)
            images = torch.where(_wide(better), tried, images)
            gradient = torch.where(_wide(better), tried_gradient, gradient)
            loss = torch.where(better, tried_loss, loss)
            rate = torch.where(better, rate * growth, rate * decay)
            history.append(loss.view(trials, poisons).mean(1))
            context.progress(step + 1, steps)
        curves = torch.stack(history, dim=1).tolist()
        return Crafted(images.view_as(task.bases), tuple(tuple(curve) for curve in curves))

    return craft


def _loss_and_gradient(
    images: Tensor, wanted: tuple[Tensor, ...], networks: tuple[FeatureNetwork, ...]
) -> tuple[Tensor, Tensor]:
    """The squared feature distance of each image, [N], summed over the networks, and its gradient, [N, 3, H, W]."""
    leaf = images.detach().requires_grad_()
    loss = torch.stack(
        [(network.features(leaf) - goal).square().sum(1) for network, goal in zip(networks, wanted, strict=True)]
    ).sum(0)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return loss.detach(), gradient


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
