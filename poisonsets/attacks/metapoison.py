"""MetaPoison's objective: the targets' loss after a few unrolled training steps on the poisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.registry import Traits, attack
from poisonsets.settings import Augment, Choice, Range, Steps, StepSize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from poisonsets.images import TrainingImages

DRAWN_AT_ONCE = 64  # evaluations whose clean images are drawn together: each move to the device would stall it


@attack(
    "metapoison",
    version=2,
    traits=Traits(objective="gradient", randomised=True, needs=frozenset({"gradients", "training"}), batched=False),
    source="Huang et al. 2020; Geiping et al. 2021",
)
def metapoison(
    *,
    restarts: Annotated[int, Range(1, 1000)] = 8,
    steps: Steps = 250,
    step_size: StepSize = 0.1,
    unroll: Annotated[int, Range(1, 100)] = 2,
    inner_learning_rate: Annotated[float, Range(1e-9, 1e3)] = 0.01,
    clean: Annotated[int, Range(0, 100_000)] = 0,
    augment: Augment = True,
    choice: Choice = "evaluated",
) -> Attack:
    """Minimise the targets' cross-entropy as the adversarial class after a few unrolled training steps on the poisons.

    Huang et al. (2020, "MetaPoison") with K = `unroll` plain SGD steps, differentiated to second order, optimised as in
    gradient matching (Geiping et al. 2021, table 2: restarts, signed Adam, augmentation). What differs from the
    published attack, which this is not: there is no staggered ensemble of 24 networks at different epochs that keep
    training during crafting (the surrogates are fixed), and no colour perturbation; batch normalisation is in eval
    mode; all poisons share every inner batch. The code of Geiping et al. also unrolls without clean images, but at
    training's final learning rate, 1e-4, where the targets' loss hardly depends on the poisons. Every unrolled step
    stays in memory, at about the cost of an ordinary double backward.

    Args:
        restarts: independent starts, of which the best is kept; 8 in the comparison of Geiping et al.
        steps: steps per restart; 250 there, 60 in MetaPoison.
        step_size: in units of the standard deviation, divided by the number of networks.
        unroll: inner SGD steps; published 2.
        inner_learning_rate: of the inner steps. At 0.1, usual for training from scratch, two steps on hundreds of
            poisons of one class make any network predict it everywhere, and nothing is left to gain.
        clean: clean training images in the inner batch, drawn anew at every evaluation from classes the networks know,
            poisons' bases excluded; MetaPoison's batches are mostly clean images.
    """
    import torch
    import torch.nn.functional as F

    from poisonsets.methods.descent import OptimiserSpec, descend, differentiable
    from poisonsets.methods.gradients import published_step, train_unrolled

    def craft(task: Task, context: Context) -> Crafted:
        (targets,), (own,) = task.targets, task.labels
        wanted = task.adversarial_labels.expand(len(targets))
        if clean and context.training is None:
            raise UsageError("metapoison: clean images need a training split", "Set clean=0")
        drawn = _clean_images(task, context.training, context, clean) if context.training else iter(())

        def loss(poisons: Tensor) -> Tensor:
            (images,), labels = poisons, own
            if clean:
                others, known = next(drawn)
                images, labels = torch.cat([images, others]), torch.cat([labels, known])
            losses = []
            for network in context.surrogates:
                weights = train_unrolled(network, images, network.positions(labels), unroll, inner_learning_rate)
                losses.append(F.cross_entropy(network.logits(targets, weights), network.positions(wanted)))
            return torch.stack(losses).mean()[None]

        rate = published_step(step_size, context)
        spec = OptimiserSpec(steps=steps, step_size=rate, restarts=restarts, augment=augment, choice=choice)
        return descend(task, context, differentiable(loss), spec)

    return craft


def _clean_images(
    task: Task, training: TrainingImages, context: Context, clean: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each evaluation images and labels of classes that all networks know, no poison's base, on the device."""
    import torch

    known = set.intersection(*(set(network.classes) for network in context.surrogates))
    free = torch.isin(torch.tensor(training.labels), torch.tensor(list(known)))
    free[list(task.base_ids[0])] = False
    others = free.nonzero()[:, 0]
    while True:
        drawn = [torch.randperm(len(others), generator=context.generators[0])[:clean] for _ in range(DRAWN_AT_ONCE)]
        yield from map(training.resident, others[torch.stack(drawn)].to(context.device))
