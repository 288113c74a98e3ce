"""Sleeper Agent: the poisons' gradient matches that of patched source images, but no poison shows the trigger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.registry import Traits, attack
from poisonsets.settings import PUBLISHED_BATCH, Augment, Batch, Choice, Range, Steps, StepSize

if TYPE_CHECKING:
    from torch import Tensor

    from poisonsets.surrogates import Surrogate


@attack(
    "sleeper-agent",
    version=2,
    traits=Traits(
        objective="gradient",
        randomised=True,
        targeted=False,
        needs=frozenset({"gradients", "source images", "trigger", "training"}),
        batched=False,
        selects=True,
    ),
    source="Souri et al. 2022",
)
def sleeper_agent(
    *,
    restarts: Annotated[int, Range(1, 1000)] = 1,
    steps: Steps = 250,
    step_size: StepSize = 0.1,
    augment: Augment = True,
    sources: Annotated[int, Range(1, 1_000_000)] = 1000,
    retraining: Annotated[int, Range(0, 1000)] = 4,
    selection: Literal["gradient-norm", "none"] = "gradient-norm",
    batch: Batch = PUBLISHED_BATCH,
    choice: Choice = "evaluated",
) -> Attack:
    """Minimise 1 - cos of the poisons' weight gradient and that of triggered source images, mislabelled.

    Souri et al. (2022, "Sleeper Agent"), optimised as gradient matching. The source images are training images of the
    source classes with the trigger and the adversarial label, unaugmented. Every steps / (retraining + 1) steps the
    networks are retrained on the training set with the current poisons, and the sources' gradient is recomputed;
    perturbations, optimiser and step size carry on, as in the authors' code. The poisons are the candidates whose own
    loss has the longest gradient in the given networks. What differs: each history value comes from the networks of
    that step, so the curve jumps at a retraining; restarts are ranked by four fixed views in their
    last networks and all begin with the given networks; dropout is off.

    Args:
        restarts: independent starts, of which the best is kept; published 1.
        steps: steps per restart; published 250.
        step_size: in units of the standard deviation, times batch / 512 and divided by the number of networks.
        sources: source images, drawn once per trial; all if there are fewer. Published 1,000.
        retraining: how often the networks are retrained during a restart; published 4.
        selection: of more candidates than poisons, those whose own loss has the longest gradient become poisons, or
            the first ones.
    """
    from poisonsets.methods.descent import OptimiserSpec, descend
    from poisonsets.methods.gradients import Match, cosine, matching_objective, published_step, weight_gradient
    from poisonsets.methods.sources import draw_sources

    def craft(task: Task, context: Context) -> Crafted:
        drawn = draw_sources(task, context, 0, sources, repeat=False)
        ascending = replace(drawn, ids=tuple(sorted(drawn.ids)))
        mislabelled = task.adversarial_labels.expand(len(drawn.ids))
        kept = _select(task, context, by_length=selection == "gradient-norm")
        own = replace(task, bases=task.bases[:, kept], labels=task.labels[:, kept])

        def match(network: Surrogate) -> Match:
            positions = network.positions(mislabelled)
            wanted = weight_gradient(network, ascending.stamped(), positions, batch=250)
            return Match(network, network.positions(own.labels[0]), cosine(wanted))

        given = [match(network) for network in context.surrogates]
        current = list(given)
        period = max(1, steps // (retraining + 1))

        def before(restart: int, step: int, images: Tensor) -> None:
            turn, rest = divmod(step, period)
            if step == 0:
                current[:] = given
            elif rest == 0 and turn <= retraining:
                if context.retrain is None:
                    raise UsageError("sleeper-agent: networks cannot be retrained here", "Set retraining=0")
                networks = context.retrain(0, _put(images, task, kept)[0], restart * retraining + turn - 1)
                current[:] = [match(network) for network in networks]

        rate = published_step(step_size, context, batch=batch)
        spec = OptimiserSpec(steps=steps, step_size=rate, restarts=restarts, augment=augment, choice=choice)
        found = descend(own, context, matching_objective(current, batch=batch), spec, before=before)
        return Crafted(_put(found.images, task, kept), found.history, kept[None])

    return craft


def _put(images: Tensor, task: Task, kept: Tensor) -> Tensor:
    """All candidates, [1, P, 3, H, W]: the kept ones as these images, [1, keep, 3, H, W], the others as bases."""
    candidates = task.bases.clone()
    candidates[:, kept] = images
    return candidates


def _select(task: Task, context: Context, *, by_length: bool) -> Tensor:
    """int64 [keep]: the candidates that become poisons, ascending."""
    import torch

    from poisonsets.methods.gradients import gradient_norms

    (candidates,), (labels,) = task.bases, task.labels
    keep = task.keep or len(candidates)
    if keep == len(candidates) or not by_length:
        return torch.arange(keep)
    norms = [gradient_norms(one, candidates, one.positions(labels)) for one in context.surrogates]
    order = torch.stack(norms).mean(0).sort(descending=True, stable=True).indices
    return order[:keep].sort().values.cpu()
