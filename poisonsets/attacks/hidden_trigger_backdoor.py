"""Hidden-trigger backdoor: bases move in feature space onto source-class images that carry the trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack
from poisonsets.settings import LearningRate, Range

if TYPE_CHECKING:
    from torch import Tensor


@attack(
    "hidden-trigger-backdoor",
    version=2,
    aliases=("HTBD", "HTBA"),
    traits=Traits(
        objective="feature",
        randomised=True,
        targeted=False,
        needs=frozenset({"features", "source images", "trigger"}),
        trigger="patch,margin=5",
    ),
    source="Saha et al. 2020; Schwarzschild et al. 2021",
)
def hidden_trigger_backdoor(
    *,
    steps: Annotated[int, Range(1, 1_000_000)] = 5000,
    learning_rate: LearningRate = 0.001,
    decay: Annotated[float, Range(0.01, 1)] = 0.95,
    every: Annotated[int, Range(1, 1_000_000)] = 2000,
    stop: Annotated[float, Range(0, 1e12)] = 10.0,
    pairing: Literal["greedy", "assignment", "published"] = "greedy",
) -> Attack:
    """Minimise sum_i ||f(x_i) - f(s_i)||^2 over pairs of poisons and patched source images, re-matched at each step.

    Saha et al. (2020), algorithm 1: a greedy one-to-one matching of poisons and source images, closest pair first.
    Steps, rate and stop are those of Schwarzschild et al. (2021) for 32 pixels (64 pixels: `every=1000`, `decay=0.5`).
    What differs: their code does not match one to one, so about 14 of 25 source images remain after the first step and
    the others never return (`pairing=published`), and it draws source images from an unseeded generator. All trials of
    a block descend together, each until its own stop. Squared distances are summed over several surrogates.

    Args:
        steps: gradient steps at most; published 5,000.
        learning_rate: step size for images in 0..1; published 0.001 (Saha et al. 0.01).
        decay: factor on the step size every `every` steps; published 0.95 (0.5 for 64 pixels and in Saha et al.).
        every: steps between decays; published 2,000 (1,000 for 64 pixels and in Saha et al.).
        stop: a trial ends when the loss summed over its pairs is below this; published 10 (in Saha et al. the largest
            pair's loss).
        pairing: `greedy`: closest pair first, one to one; `assignment`: the one-to-one matching with the least sum;
            `published`: that of the benchmark's code.
    """
    import torch

    from poisonsets.budget import projection
    from poisonsets.methods.features import steps_between_looks
    from poisonsets.methods.pairing import RULES, match_sources

    def craft(task: Task, context: Context) -> Crafted:
        aims = _source_features(task, context)
        found, look_every = task.bases.clone(), steps_between_looks(context.device)
        trials, poisons = found.shape[:2]
        running = torch.arange(trials, device=found.device)
        images, bases, inside = found, task.bases, projection(task.bases, task.budget)
        pairs = torch.arange(poisons, device=found.device).repeat(trials, 1)
        goes = torch.ones_like(running, dtype=torch.bool)
        history = []
        for step in range(steps + 1):
            losses, gradient, pairs = match_sources(images, aims, pairs, context.surrogates, RULES[pairing])
            history.append(losses.new_full((trials,), torch.nan).index_copy_(0, running, losses))
            goes = goes & (losses >= stop)
            if step == steps:
                break
            rate = learning_rate * decay ** (step // every)
            moved = inside(images - rate * gradient)
            images = torch.where(goes[:, None, None, None, None], moved, images)
            context.progress(step + 1, steps)
            if (step + 1) % look_every == 0:
                kept = goes.nonzero()[:, 0]
                if len(kept) < len(goes):  # finished trials leave the batch, to save their cost
                    found.index_copy_(0, running, images)
                    running, images, bases, pairs, goes = (x[kept] for x in (running, images, bases, pairs, goes))
                    aims, inside = [goal[kept] for goal in aims], projection(bases, task.budget)
                if not len(kept):
                    break
        found.index_copy_(0, running, images)
        context.progress(steps, steps)
        return Crafted(found, _until_stop(torch.stack(history, dim=1).tolist(), stop))

    return craft


def _until_stop(curves: list[list[float]], stop: float) -> tuple[tuple[float, ...], ...]:
    """Each trial's curve up to the first value that ended it."""
    lengths = [next((i for i, value in enumerate(one) if not value >= stop), len(one) - 1) for one in curves]
    return tuple(tuple(one[: length + 1]) for one, length in zip(curves, lengths, strict=True))


def _source_features(task: Task, context: Context) -> list[Tensor]:
    """For each network f(s), [T, P, D], of one patched source image per poison."""
    import torch

    from poisonsets.methods.sources import draw_sources

    trials, poisons = task.bases.shape[:2]
    sources = [draw_sources(task, context, trial, poisons, repeat=True) for trial in range(trials)]
    with torch.no_grad():
        images = torch.cat([one.stamped() for one in sources])
        return [network.features(images).view(trials, poisons, -1) for network in context.surrogates]
