"""The line search of feature collision: each poison takes projected gradient steps of its own size.

Shafahi et al. (2018) and the benchmark's code (Schwarzschild et al. 2021); the attack says what differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch
from torch import Tensor

from poisonsets.budget import project, projection
from poisonsets.interface import Context, Crafted, Task
from poisonsets.methods.features import steps_between_looks

Slope: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps images [n, 3, H, W] to their feature distances, [n], and the gradients of these."""
Aim: TypeAlias = Callable[[Tensor], Slope]
"""Gives the slope of the poisons at positions [n] in the block, each towards its own trial's targets."""


@dataclass(frozen=True)
class _Poisons:
    """The poisons in the batch, [n] along the first axis: where each stands, and whether it still searches."""

    images: Tensor
    loss: Tensor
    gradient: Tensor
    rate: Tensor
    searches: Tensor

    def of(self, kept: Tensor) -> _Poisons:
        return _Poisons(*(getattr(self, field.name)[kept] for field in fields(self)))


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

    def run(self, task: Task, context: Context, aim: Aim, start: Tensor) -> Crafted:
        """Search from images [T, P, 3, H, W], in the budget or not; a curve ends with its trial's last search."""
        poisons, every = task.bases.shape[1], steps_between_looks(context.device)
        bases, images = task.bases.flatten(0, 1), start.flatten(0, 1)
        if not self.published:
            images = project(images, bases, task.budget)
        active = torch.arange(len(bases), device=bases.device)
        near, inside, slope, trial = bases, projection(bases, task.budget), aim(active), active // poisons
        now = self._begin(slope, images, bases)
        loss, means, lengths = now.loss.clone(), [_means(now.loss, poisons)], [torch.ones_like(now.loss[::poisons])]
        for step in range(self.steps):
            searched = torch.zeros_like(lengths[0]).scatter_reduce(0, trial, now.searches.float(), "amax")
            now = self._advance(now, near, inside, slope)
            loss.index_copy_(0, active, now.loss)
            means.append(_means(loss, poisons))
            lengths.append(searched)
            context.progress(step + 1, self.steps)
            if (step + 1) % every == 0 or step + 1 == self.steps:
                images.index_copy_(0, active, now.images)
                kept = now.searches.nonzero()[:, 0]
                if not len(kept):
                    break
                if len(kept) < len(active):
                    now, active = now.of(kept), active[kept]
                    near, slope, trial = bases[active], aim(active), active // poisons
                    inside = projection(near, task.budget)
        counts = torch.stack(lengths).sum(0).tolist()
        curves = torch.stack(means, dim=1).tolist()
        each = zip(curves, counts, strict=True)
        return Crafted(images.view_as(task.bases), tuple(tuple(curve[: int(count)]) for curve, count in each))

    def _begin(self, slope: Slope, images: Tensor, bases: Tensor) -> _Poisons:
        loss, gradient = slope(images)
        loss = self._penalised(loss, images, bases)
        rate = torch.full_like(loss, self.learning_rate)
        return _Poisons(images, loss, gradient, rate, torch.ones_like(loss, dtype=torch.bool))

    def _advance(self, now: _Poisons, bases: Tensor, inside: Callable[[Tensor], Tensor], slope: Slope) -> _Poisons:
        """One step of every poison that still searches."""
        tried = inside(self._stepped(now.images, now.gradient, bases, now.rate))
        loss, gradient = slope(tried)
        loss = self._penalised(loss, tried, bases)
        falls = loss < now.loss
        moves = now.searches if self.published else now.searches & falls
        over = self._over(now.images, tried, now.loss, loss)
        return _Poisons(
            torch.where(_wide(moves), tried, now.images),
            torch.where(moves, loss, now.loss),
            torch.where(_wide(moves), gradient, now.gradient),
            now.rate * torch.where(falls, self.growth, self.decay),
            now.searches & ~over,
        )

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

    def _penalised(self, loss: Tensor, images: Tensor, bases: Tensor) -> Tensor:
        if self.penalty == 0:
            return loss
        squared: Tensor = (images - bases).square().flatten(1).sum(1)
        return loss + self.penalty * squared


def _means(loss: Tensor, poisons: int) -> Tensor:
    """Each trial's mean [T] of its poisons' losses [T * P]."""
    return loss.view(-1, poisons).mean(1)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
