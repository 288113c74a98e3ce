"""The optimiser of gradient matching and its comparisons: restarts, signed Adam with step decay, augmentation.

Geiping et al. (2021, "Witches' Brew"), algorithm 1. Table 2 of that paper optimises feature objectives the same way;
any objective of this package can be. What differs: the best restart has the lowest objective over one fixed set of
augmentations; the authors' code compares the last steps' losses, one noisy draw each. A start is cut to the budget and
to 0..1; theirs to the budget alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from poisonsets.budget import noise_scale, projection
from poisonsets.interface import Context, Crafted, Task
from poisonsets.methods.augment import augment_images, draw_views

Before: TypeAlias = Callable[[int, int, Tensor], None]
"""Called before each step with the restart, the step, both from 0, and the unaugmented images [T, P, 3, H, W]."""

EVALUATED_VIEWS = 4
DRAWN_AT_ONCE = 256  # steps whose views go to the device together: each move there would stall it


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        loss: maps images [T, P, 3, H, W] to each trial's loss, [T].
        slope: maps them to that loss and a positive multiple of the gradient of its sum; both without a graph.
    """

    loss: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], tuple[Tensor, Tensor]]


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

    def slope(images: Tensor) -> tuple[Tensor, Tensor]:
        leaf = images.detach().requires_grad_()
        losses = loss(leaf)
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), gradient

    return Objective(_graphless(loss), slope)


def _graphless(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The loss without the graph of whatever it differentiates within."""

    def found(images: Tensor) -> Tensor:
        return loss(images.detach()).detach()

    return found


def descend(
    task: Task, context: Context, objective: Objective, spec: OptimiserSpec, *, before: Before | None = None
) -> Crafted:
    """Minimise an objective over the perturbations of a block's trials.

    Args:
        task: gives the bases and the budget.
        context: its first surrogate gives the normalisation, its generators all randomness.
        objective: its slope is asked for once a step, its loss at each restart's end and, with augmentation, at its
            start too, in `EVALUATED_VIEWS` views.
        spec: how to minimise.
        before: called before each step, for objectives that change; the end of a curve and the restart's rank are
            measured by the objective as it is after the restart's last step.

    Returns:
        For each trial the images of its best restart, projected, and that restart's curve: the loss at the start,
        before each further step, and at the end. The first and last are means over the same fixed views; the others
        are measured in the step's own view.
    """
    views = list(_views(task, context, EVALUATED_VIEWS)) if spec.augment else []

    def scored(images: Tensor) -> Tensor:
        seen = [_seen(images, view, context) for view in views] or [images]
        return torch.stack([objective.loss(one) for one in seen]).mean(0)

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
    inside = projection(task.bases, task.budget)
    images = _start(task, context, spec, inside)
    scaled = images / scale
    optimiser = torch.optim.Adam([scaled], lr=spec.step_size, betas=(0.9, 0.999), fused=True)
    # In a short run drops may coincide; as published, each counts.
    drops = [int(spec.steps // share) for share in (2.667, 1.6, 1.142)] if spec.decays else []
    curve = [scored(images)] if spec.augment else []
    views, loss = _views(task, context, spec.steps), torch.zeros(0)
    for step in range(spec.steps):
        if step > 0:
            optimiser.param_groups[0]["lr"] *= 0.1 ** drops.count(step)
        if told:
            told(step, images)
        if spec.augment:
            loss, gradient = _slope_in_view(objective, images, next(views), context)
        else:
            loss, gradient = objective.slope(images)
        if step > 0 or not spec.augment:
            curve.append(loss)
        along = gradient.sign() if spec.optimiser == "signed-adam" else gradient * scale
        scaled.grad = along.contiguous()  # a fused optimiser reads gradients as its parameters lie
        optimiser.step()
        images = inside(scaled * scale)
        torch.div(images, scale, out=scaled)
        context.progress(done + step + 1, spec.restarts * spec.steps)
    return _Restart(images, torch.stack([*curve, scored(images)], dim=1), loss)


def _seen(images: Tensor, view: Tensor, context: Context) -> Tensor:
    return augment_images(images, view, context.surrogates[0].mean, mirror=context.mirror)


def _slope_in_view(objective: Objective, images: Tensor, view: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """The loss of the images in a view, and its gradient with respect to the unaugmented images."""
    leaf = images.detach().requires_grad_()
    seen = _seen(leaf, view, context)
    loss, gradient = objective.slope(seen.detach())
    (through,) = torch.autograd.grad(seen, leaf, gradient)
    return loss, through


def _start(task: Task, context: Context, spec: OptimiserSpec, inside: Callable[[Tensor], Tensor]) -> Tensor:
    if spec.start == "bases":
        return task.bases.clone()
    shape = task.bases.shape[1:]
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in context.generators])
    return inside(noise.to(context.device).mul_(noise_scale(task.budget, shape.numel())).add_(task.bases))


def _views(task: Task, context: Context, steps: int) -> Iterator[Tensor]:
    """Each step's views, float32 [T, P, 3] on the device, drawn by every trial's generator for many steps at once."""
    poisons = task.bases.shape[1]
    for first in range(0, steps, DRAWN_AT_ONCE):
        count = min(DRAWN_AT_ONCE, steps - first)
        each = [draw_views(count * poisons, generator).view(count, poisons, 3) for generator in context.generators]
        yield from torch.stack(each, dim=1).to(context.device)
