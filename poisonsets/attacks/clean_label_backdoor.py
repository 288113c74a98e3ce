"""Clean-label backdoor: bases made hard to recognise, so that the trigger is what a victim learns."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from poisonsets.budget import project
from poisonsets.images import stamped
from poisonsets.interface import Attack, Budget, Context, Crafted, Surrogate, Task
from poisonsets.manifests.overlay.stamp import train_id
from poisonsets.manifests.records.trial import L2, Linf
from poisonsets.registry import Traits, attack
from poisonsets.settings import Range
from poisonsets.surrogates import pgd_step

UNBOUNDED_START = 16 / 255  # how far a random start reaches where there is no budget


@attack(
    "clean-label-backdoor",
    version=1,
    aliases=("CLBD", "label-consistent"),
    traits=Traits(
        objective="gradient",
        randomised=True,
        targeted=False,
        needs=frozenset({"robust", "trigger"}),
        exempting="trigger_in_budget",
    ),
    source="Turner et al. 2018; Schwarzschild et al. 2021",
)
def clean_label_backdoor(
    *,
    steps: Annotated[int, Range(0, 100_000)] = 20,
    step_size: Annotated[float, Range(0, 255)] = 2.0,
    start: Literal["random", "base"] = "random",
    trigger_in_budget: bool = True,
) -> Attack:
    """Minimise the probability that a robust network gives each base's label, by projected signed steps; then stamp.

    Turner et al. (2018), in the form of Schwarzschild et al. (2021): the cross-entropy of the base's own
    label is raised for 20 steps of 2 levels from a uniform start, then the trigger is put on and the whole is cut to
    the ball: poisons carry only its ghost, while the target carries all of it. Turner et al. leave the trigger at full
    strength (`trigger_in_budget=false`; the set then declares it exempt). What differs: images are projected in
    floats and rounded once; the perturbation under an exempt trigger is left to the stamp; of several surrogates the
    mean of the log-probabilities counts. The history is the poisons' mean probability of their label.

    Args:
        steps: gradient steps; published 20.
        step_size: levels that each value moves in a step; published 2 (Turner et al. 1.5 and 100 steps).
        start: `random`: uniform in the budget, as published; `base`: the base itself.
        trigger_in_budget: whether the trigger counts as perturbation, as published by Schwarzschild et al.
    """

    def craft(task: Task, context: Context) -> Crafted:
        trials, poisons = task.bases.shape[:2]
        bases = task.bases.flatten(0, 1)
        inside = partial(project, bases=bases, budget=task.budget)
        positions = context.surrogates[0].positions(task.labels.flatten())
        logits = partial(_joint, networks=context.surrogates)
        images = inside(_started(task, context)) if start == "random" else bases
        history = []
        for step in range(steps):
            images, losses = pgd_step(images, positions, logits, inside, step=step_size / 255)
            history.append(torch.exp(-losses).view(trials, poisons).mean(1))
            context.progress(step + 1, steps)
        if trigger_in_budget and task.trigger is not None:
            ids = [train_id(index) for of_trial in task.base_ids for index in of_trial]
            images = inside(stamped(images, task.trigger, ids))
        with torch.no_grad():
            last = torch.softmax(logits(images), dim=1).gather(1, positions[:, None])
        history.append(last.view(trials, poisons).mean(1))
        curves = torch.stack(history, dim=1).tolist()
        return Crafted(images.view_as(task.bases), tuple(tuple(curve) for curve in curves))

    return craft


def _joint(images: Tensor, networks: tuple[Surrogate, ...]) -> Tensor:
    """The mean over the networks of the log-probabilities, [N, C]; of one network its own logits, but for a shift."""
    return torch.stack([torch.log_softmax(network.logits(images), dim=1) for network in networks]).mean(0)


def _started(task: Task, context: Context) -> Tensor:
    """Each base plus uniform noise that reaches as far as the budget, [T * P, 3, H, W], not projected."""
    shape = task.bases.shape[1:]
    reach = _reach(task.budget, math.prod(shape[1:]))
    noise = torch.stack([torch.rand(shape, generator=generator) for generator in context.generators])
    return (task.bases + (2 * noise - 1).to(task.bases.device) * reach).flatten(0, 1)


def _reach(budget: Budget, values: int) -> float:
    """The noise's largest value in 0..1; under l2 that of noise whose expected length is the radius."""
    if isinstance(budget, Linf):
        return budget.levels / 255
    if isinstance(budget, L2):
        return math.sqrt(3 * budget.squared_levels / values) / 255
    return UNBOUNDED_START
