"""Feature collision (Poison Frogs): each poison alone moves onto the target in feature space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor

from poisonsets.budget import project
from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.methods.descent import Objective, descend
from poisonsets.methods.features import FeatureSpec, optimiser_spec, target_features
from poisonsets.registry import Traits, attack
from poisonsets.settings import Range

Evaluate: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images [n, 3, H, W] and their positions [n] in the block to the feature distances, [n], and their gradients."""


@attack(
    "feature-collision",
    version=2,
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
    line_search: Literal["fixed", "published"] = "fixed",
    penalty: Annotated[float, Range(0, 1e9)] = 0.0,
    optimiser: Literal["line-search", "adam", "signed-adam"] = "line-search",
    restarts: Annotated[int, Range(1, 100)] = 1,
    augment: bool = False,
) -> Attack:
    """Minimise ||f(x) - f(t)||^2 + penalty ||x - b||^2 for each poison by projected gradient with a backtracking step.

    The default is the l-infinity form of Schwarzschild et al. (2021), where the ball replaces the penalty of Shafahi et
    al. (2018), equation 1. With a penalty each step is the forward-backward step of Shafahi et al., then projected into
    whatever budget is declared. Distances add up over the networks; several targets of a trial are views of one object,
    whose losses are averaged, and the first gives the watermark.

    What differs: the published search compares the loss of the current point with that of the previous one and, once it
    rises, keeps comparing the same two, so that 13 of 16 poisons stop after one step; here (`line_search=fixed`) a step
    is tried, kept if the loss falls, and shortened by `decay` if not. The watermark start is projected into the budget
    before the first loss is taken. The published backward step, (x + rate penalty b) / (1 + rate penalty), is that of
    half the penalty in the objective; the fixed search takes the whole. Poisons that are done cost nothing further.

    A UsageError refuses restarts or augmentation of a line search, and a penalty beside augmentation.

    Args:
        steps: gradient evaluations per poison; published 120.
        learning_rate: first step size of the line search, for images in 0..1; published 0.001. For the other optimisers
            in units of the standard deviation, where 0.04 to 0.1 are usual.
        decay: factor on the step size after a rejected step; published 0.2. Of the fixed search.
        growth: factor on the step size after an accepted step; 1 keeps the published never-growing step.
        watermark: share of the target in the line search's start, w t + (1 - w) b; published 0.3.
        tolerance: a poison is done when an accepted step changes its loss by less than this share (`fixed`), or a step
            the image by less than this share of its length (`published`); published 1e-5.
        line_search: `fixed` is the corrected search above; `published` starts outside of the budget, takes every step
            and freezes where it first raises the loss.
        penalty: weight of the squared distance in 0..1 to the base; 0 is the ball alone. Shafahi et al. take 0.25
            (D / pixel values)^2, D features, for images in 0..255, which is 255^2 times that here; Schwarzschild et al.
            have 4 for their l2 form.
        optimiser: `line-search` as published; `adam` and `signed-adam` descend on the mean over a trial's poisons, as
            the frame of Witches' Brew (whose own "poison frogs" moves the mean feature, as bullseye-polytope does).
        restarts: random starts, of which the one with the lowest objective is kept; needs another optimiser than
            `line-search`, and so does `augment`.
        augment: whether every step sees the poisons shifted and mirrored at random; goes with no penalty.
    """
    _check(optimiser, restarts, penalty, augment=augment)
    search = _Search(steps, learning_rate, decay, growth, tolerance, penalty, published=line_search == "published")

    def craft(task: Task, context: Context) -> Crafted:
        evaluate = _evaluation(task, context)
        if optimiser == "line-search":
            first = task.targets[:, :1]
            return search.run(task, context, evaluate, (1 - watermark) * task.bases + watermark * first)
        frame = optimiser_spec(
            steps=steps, learning_rate=learning_rate, optimiser=optimiser, restarts=restarts, augment=augment
        )
        return descend(task, context, _mean_over_poisons(task, evaluate, penalty), frame)

    return craft


def _check(optimiser: str, restarts: int, penalty: float, *, augment: bool) -> None:
    if optimiser == "line-search" and (restarts > 1 or augment):
        raise UsageError(
            f"feature-collision: restarts={restarts} augment={str(augment).lower()} with optimiser=line-search, "
            "which has one start and sees the images as they are",
            "Take optimiser=adam or signed-adam, or leave both out",
        )
    if penalty > 0 and augment:
        raise UsageError(
            f"feature-collision: penalty={penalty:g} with augment=true, where a shifted image would be measured from a "
            "base that is not",
            "Leave one of them out",
        )


def _evaluation(task: Task, context: Context) -> Evaluate:
    """The squared feature distance of the block's poisons, any of them at a time."""
    poisons = task.bases.shape[1]
    aims = [goals[-1] for goals in target_features(task, context, FeatureSpec())]

    def evaluate(images: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        leaf = images.detach().requires_grad_()
        losses = [
            (network.features(leaf)[:, None] - aim[positions // poisons]).square().sum(2).mean(1)
            for network, aim in zip(context.surrogates, aims, strict=True)
        ]
        loss = torch.stack(losses).sum(0)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        return loss.detach(), gradient

    return evaluate


def _mean_over_poisons(task: Task, evaluate: Evaluate, penalty: float) -> Objective:
    """The objective of whole trials, penalty and all, for an optimiser that knows no backward step."""
    everyone = torch.arange(task.bases.shape[0] * task.bases.shape[1], device=task.bases.device)

    def objective(images: Tensor) -> tuple[Tensor, Tensor]:
        loss, gradient = evaluate(images.flatten(0, 1), everyone)
        moved = images - task.bases
        losses = loss.view(images.shape[:2]) + penalty * moved.square().flatten(2).sum(2)
        return losses.mean(1), (gradient.view_as(images) + 2 * penalty * moved) / images.shape[1]

    return objective


@dataclass(frozen=True)
class _Search:
    """The line search of every poison by itself; the settings are those of the attack."""

    steps: int
    learning_rate: float
    decay: float
    growth: float
    tolerance: float
    penalty: float
    published: bool

    def run(self, task: Task, context: Context, evaluate: Evaluate, start: Tensor) -> Crafted:
        """From images [T, P, 3, H, W], which may lie outside of the budget; a trial's curve ends with its search."""
        trials, poisons = task.bases.shape[:2]
        bases, images = task.bases.flatten(0, 1), start.flatten(0, 1)
        if not self.published:
            images = project(images, bases, task.budget)
        active = torch.arange(len(bases), device=bases.device)
        loss, gradient = evaluate(images, active)
        loss = loss + self._penalty(images, bases)
        rate = torch.full_like(loss, self.learning_rate)
        curves = [[value] for value in loss.view(trials, poisons).mean(1).tolist()]
        for step in range(self.steps):
            now, base, eta = images[active], bases[active], rate[active]
            tried = project(self._stepped(now, gradient, base, eta), base, task.budget)
            tried_loss, tried_gradient = evaluate(tried, active)
            tried_loss = tried_loss + self._penalty(tried, base)
            falls = tried_loss < loss[active]
            moves = torch.ones_like(falls) if self.published else falls
            over = self._over(now, tried, loss[active], tried_loss)
            images[active] = torch.where(_wide(moves), tried, now)
            loss[active] = torch.where(moves, tried_loss, loss[active])
            rate[active] = torch.where(falls, eta * self.growth, eta * self.decay)
            means = loss.view(trials, poisons).mean(1).tolist()
            for trial in torch.unique(active // poisons).tolist():
                curves[trial].append(means[trial])
            context.progress(step + 1, self.steps)
            gradient = torch.where(_wide(moves), tried_gradient, gradient)[~over]
            active = active[~over]
            if not len(active):
                break
        return Crafted(images.view_as(task.bases), tuple(tuple(curve) for curve in curves))

    def _stepped(self, images: Tensor, gradient: Tensor, bases: Tensor, rate: Tensor) -> Tensor:
        """Forward along the distance's gradient, backward by the penalty's proximal step."""
        forward = images - _wide(rate) * gradient
        if self.penalty == 0:
            return forward
        pull = _wide(rate) * self.penalty * (1 if self.published else 2)
        return (forward + pull * bases) / (1 + pull)

    def _over(self, now: Tensor, tried: Tensor, loss: Tensor, tried_loss: Tensor) -> Tensor:
        """bool [n]: whose search has ended; a published one that rises would compare the same two losses for ever."""
        if self.published:
            step, length = (tried - now).flatten(1).norm(dim=1), now.flatten(1).norm(dim=1)
            return (tried_loss > loss) | torch.lt(step, self.tolerance * length)
        settled = (tried_loss < loss) & (loss - tried_loss < self.tolerance * loss)
        return settled | torch.eq(tried, now).flatten(1).all(1)

    def _penalty(self, images: Tensor, bases: Tensor) -> Tensor:
        squared: Tensor = (images - bases).square().flatten(1).sum(1)
        return self.penalty * squared


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
