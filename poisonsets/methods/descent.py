"""The optimiser of gradient matching and its comparisons: restarts, signed Adam with step decay, augmentation.

Geiping et al. (2021, "Witches' Brew"), algorithm 1. Table 2 of that paper optimises feature objectives the same way;
any objective of this package can be. What differs: the best restart has the lowest objective over one fixed set of
augmentations; the authors' code compares the last steps' losses, one noisy draw each. A start is cut to the budget and
to 0..1; theirs to the budget alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from poisonsets.budget import noise_scale, project
from poisonsets.interface import Context, Crafted, Task
from poisonsets.methods.augment import augment_images, draw_views

Objective: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps images [T, P, 3, H, W] to each trial's loss, [T], and a positive multiple of the gradient of their sum."""
Before: TypeAlias = Callable[[int, int, Tensor], None]
"""Called before each step with the restart, the step, both from 0, and the unaugmented images [T, P, 3, H, W]."""

EVALUATED_VIEWS = 4


@dataclass(frozen=True)
class OptimiserSpec:
    """How to minimise an objective.

    Attributes:
        steps: optimiser steps per restart.
        step_size: of the first step, in units of the images' standard deviation.
        optimiser: `adam`, or `signed-adam`: Adam on the gradient's signs.
        decays: whether the step size falls to a tenth after 3/8, 5/8 and 7/8 of the steps.
        restarts: independent starts, of which the best is kept.
        start: `bases`, or `normal`: perturbed by N(0, radius^2), cut to the budget.
        augment: whether each step draws a new view of every image.
        choice: how the best restart is chosen: `evaluated`, or `published`, by the last step's loss.
    """

    steps: int
    step_size: float
    optimiser: Literal["adam", "signed-adam"] = "signed-adam"
    decays: bool = True
    restarts: int = 1
    start: Literal["bases", "normal"] = "normal"
    augment: bool = True
    choice: Literal["evaluated", "published"] = "evaluated"


def differentiable(loss: Callable[[Tensor], Tensor]) -> Objective:
    """The objective of a loss, images [T, P, 3, H, W] to [T], that autograd can differentiate."""

    def objective(images: Tensor) -> tuple[Tensor, Tensor]:
        leaf = images.detach().requires_grad_()
        losses = loss(leaf)
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), gradient

    return objective


def descend(
    task: Task, context: Context, objective: Objective, spec: OptimiserSpec, *, before: Before | None = None
) -> Crafted:
    """Minimise an objective over the perturbations of a block's trials.

    Args:
        task: gives the bases and the budget.
        context: its first surrogate gives the normalisation, its generators all randomness.
        objective: called once per step, and `EVALUATED_VIEWS` times (once without augmentation) at each restart's
            start and end.
        spec: how to minimise.
        before: called before each step, for objectives that change; the end of a curve and the restart's rank are
            measured by the objective as it is after the restart's last step.

    Returns:
        For each trial the images of its best restart, projected, and that restart's curve: the loss at the start,
        before each further step, and at the end. The first and last are means over the same fixed views; the others
        are measured in the step's own view.
    """
    views: list[Tensor | None] = (
        [_draw_views(task, context) for _ in range(EVALUATED_VIEWS)] if spec.augment else [None]
    )

    def scored(images: Tensor) -> Tensor:
        return torch.stack([_step(objective, images, view, context)[0] for view in views]).mean(0)

    best: Tensor | None = None
    images, curves = task.bases, torch.zeros(0)
    for restart in range(spec.restarts):
        told = partial(before, restart) if before else None
        end = _descend_once(task, context, objective, spec, scored=scored, told=told, done=restart * spec.steps)
        rank = end.curve[:, -1] if spec.choice == "evaluated" else end.last
        # NaN ranks last: no comparison would ever beat it if it came first.
        rank = torch.where(rank.isnan(), torch.inf, rank)
        if best is None:
            images, curves, best = end.images, end.curve, rank
            continue
        better = rank < best
        images = torch.where(better[:, None, None, None, None], end.images, images)
        curves = torch.where(better[:, None], end.curve, curves)
        best = torch.where(better, rank, best)
    return Crafted(images, tuple(tuple(curve) for curve in curves.tolist()))


@dataclass(frozen=True)
class _Restart:
    """A restart's end: images [T, P, 3, H, W], curve [T, steps + 1], and the loss measured in the last step, [T]."""

    images: Tensor
    curve: Tensor
    last: Tensor


def _descend_once(
    task: Task,
    context: Context,
    objective: Objective,
    spec: OptimiserSpec,
    *,
    scored: Callable[[Tensor], Tensor],
    told: Callable[[int, Tensor], None] | None,
    done: int,
) -> _Restart:
    """One restart; `done` counts the steps before it."""
    scale = context.surrogates[0].std.view(1, 1, 3, 1, 1)
    scaled = _start(task, context, spec) / scale
    optimiser = torch.optim.Adam([scaled], lr=spec.step_size, betas=(0.9, 0.999))
    # In a short run drops may coincide; as published, each counts.
    drops = [int(spec.steps // share) for share in (2.667, 1.6, 1.142)] if spec.decays else []
    curve, loss = [], torch.zeros(0)
    for step in range(spec.steps):
        if step > 0:
            optimiser.param_groups[0]["lr"] *= 0.1 ** drops.count(step)
        images = scaled * scale
        if told:
            told(step, images)
        opening = None if step else scored(images)
        view = _draw_views(task, context) if spec.augment else None
        loss, gradient = _step(objective, images, view, context)
        curve.append(loss if opening is None else opening)
        scaled.grad = torch.sign(gradient) if spec.optimiser == "signed-adam" else gradient * scale
        optimiser.step()
        scaled.copy_(project(scaled * scale, task.bases, task.budget) / scale)
        context.progress(done + step + 1, spec.restarts * spec.steps)
    images = project(scaled * scale, task.bases, task.budget)
    return _Restart(images, torch.stack([*curve, scored(images)], dim=1), loss)


def _step(objective: Objective, images: Tensor, view: Tensor | None, context: Context) -> tuple[Tensor, Tensor]:
    """The loss of the images in a view, and its gradient with respect to the unaugmented images."""
    if view is None:
        return objective(images.detach())
    leaf = images.detach().requires_grad_()
    seen = augment_images(leaf, view, context.surrogates[0].mean, mirror=context.mirror)
    loss, gradient = objective(seen.detach())
    (through,) = torch.autograd.grad(seen, leaf, gradient)
    return loss, through


def _start(task: Task, context: Context, spec: OptimiserSpec) -> Tensor:
    if spec.start == "bases":
        return task.bases.clone()
    shape = task.bases.shape[1:]
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in context.generators])
    noise = noise.to(context.device) * noise_scale(task.budget, shape.numel())
    return project(task.bases + noise, task.bases, task.budget)


def _draw_views(task: Task, context: Context) -> Tensor:
    poisons = task.bases.shape[1]
    return torch.stack([draw_views(poisons, generator) for generator in context.generators]).to(context.device)
