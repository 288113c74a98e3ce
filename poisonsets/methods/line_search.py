"""The line search of feature collision: each poison takes projected gradient steps of its own size.

Shafahi et al. (2018) and the benchmark's code (Schwarzschild et al. 2021); the attack says what differs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from poisonsets.budget import project
from poisonsets.interface import Context, Crafted, Task

Evaluate: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps images [n, 3, H, W] and their positions [n] in the block to feature distances, [n], and their gradients."""


@dataclass(frozen=True)
class LineSearch:
    """The search; its settings are those of feature collision."""

    steps: int
    learning_rate: float
    decay: float
    growth: float
    tolerance: float
    penalty: float
    published: bool

    def run(self, task: Task, context: Context, evaluate: Evaluate, start: Tensor) -> Crafted:
        """Search from images [T, P, 3, H, W], in the budget or not; a trial's curve ends with its search."""
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
        """A forward step along the distance's gradient, then the penalty's proximal step."""
        forward = images - _wide(rate) * gradient
        if self.penalty == 0:
            return forward
        pull = _wide(rate) * self.penalty * (1 if self.published else 2)
        return (forward + pull * bases) / (1 + pull)

    def _over(self, now: Tensor, tried: Tensor, loss: Tensor, tried_loss: Tensor) -> Tensor:
        """Whose search has ended, bool [n]; a published one that rises would compare the same two losses forever."""
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
