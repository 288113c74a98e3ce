"""Clean-label backdoor: make bases hard to recognise, so that a victim learns the trigger."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack
from poisonsets.settings import Range

if TYPE_CHECKING:
    from torch import Tensor


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

    Turner et al. (2018), in the form of Schwarzschild et al. (2021): 20 steps of 2 levels from a uniform start raise
    the cross-entropy of the base's own label, then the trigger is stamped and the result cut to the budget, while the
    target carries the whole trigger. What differs: images are projected in floats and rounded once; the perturbation
    under an exempt trigger is overwritten by the stamp; log-probabilities are averaged over several surrogates. The
    history is the poisons' mean probability of their label.

    Args:
        steps: gradient steps; published 20 (Turner et al. 100).
        step_size: levels of 255 that each value moves in a step; published 2 (Turner et al. 1.5).
        start: `random`: uniform in the budget, as published; `base`: the base itself.
        trigger_in_budget: whether the trigger counts as perturbation. `true`, as in Schwarzschild et al.: image and
            trigger together are cut to the budget, so poisons show only a faint trigger; `false`, as in Turner et al.:
            the trigger is stamped at full strength and the set declares it exempt.
    """
    import torch

    from poisonsets.budget import nearest_levels, project
    from poisonsets.images import as_floats, stamp_training
    from poisonsets.surrogates import pgd_step

    def craft(task: Task, context: Context) -> Crafted:
        trials, poisons = task.bases.shape[:2]
        bases = task.bases.flatten(0, 1)
        inside = partial(project, bases=bases, budget=task.budget)
        positions = context.surrogates[0].positions(task.labels.flatten())

        def logits(images: Tensor) -> Tensor:
            """Log-probabilities, the mean over the networks."""
            each = [torch.log_softmax(network.logits(images), dim=1) for network in context.surrogates]
            return torch.stack(each).mean(0)

        images = inside(_random_start(task, context)) if start == "random" else bases
        history = []
        for step in range(steps):
            images, losses = pgd_step(images, positions, logits, inside, step=step_size / 255)
            history.append(torch.exp(-losses).view(trials, poisons).mean(1))
            context.progress(step + 1, steps)
        if trigger_in_budget and task.trigger is not None:
            ids = [index for of_trial in task.base_ids for index in of_trial]
            images = inside(as_floats(stamp_training(nearest_levels(images), task.trigger, ids), context.device))
        with torch.no_grad():
            last = torch.softmax(logits(images), dim=1).gather(1, positions[:, None])
        history.append(last.view(trials, poisons).mean(1))
        curves = torch.stack(history, dim=1).tolist()
        return Crafted(images.view_as(task.bases), tuple(map(tuple, curves)))

    return craft


def _random_start(task: Task, context: Context) -> Tensor:
    """Each base plus uniform noise that fills the budget, [T * P, 3, H, W], not projected."""
    import torch

    from poisonsets.budget import noise_scale

    shape = task.bases.shape[1:]
    reach = noise_scale(task.budget, shape[1:].numel(), uniform=True)
    noise = torch.stack([torch.rand(shape, generator=generator) for generator in context.generators])
    return (task.bases + (2 * noise - 1).to(task.bases.device) * reach).flatten(0, 1)
