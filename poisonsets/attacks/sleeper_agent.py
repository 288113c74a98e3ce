"""Sleeper Agent: the poisons' gradient matches that of patched source images, though no poison shows the trigger."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from poisonsets.interface import Attack, Context, Crafted, Surrogate, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.registry import Traits, attack
from poisonsets.settings import PUBLISHED_BATCH, Augment, Batch, Choice, Range, Steps, StepSize

if TYPE_CHECKING:
    from torch import Tensor

    from poisonsets.methods.descent import OptimiserSpec
    from poisonsets.methods.gradients import Match
    from poisonsets.methods.sources import SourceImages

SOURCES_AT_ONCE = 250


@attack(
    "sleeper-agent",
    version=1,
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
    """Minimise 1 - cos of the poisons' weight gradient and that of source images with the trigger on, mislabelled.

    Souri et al. (2022, "Sleeper Agent"), in the frame of gradient matching. The source images are training images of
    the source classes, with the trigger on and under the adversarial label, unaugmented. After every steps /
    (retraining + 1) steps the networks are trained anew on the training set with the poisons as they stand in it, and
    the sources' gradient is computed again; perturbations, optimiser and step size go on, as in the authors' code. The
    poisons are the candidates whose own training loss has the longest gradient in the networks as given. What differs:
    each value of the history is that of the networks of its moment, so the curve jumps where these change; the best of
    several restarts is chosen by four fixed views, each restart by its last networks; every restart begins with the
    networks as given; dropout is off.

    Args:
        restarts: independent starts, of which the best is kept; published 1.
        steps: steps a restart; published 250.
        step_size: in units of the standard deviation, times batch / 512 and divided by the number of networks.
        sources: source images, drawn once a trial; all where there are fewer. Published 1,000.
        retraining: how often the networks are trained anew during a restart; published 4.
        selection: of more candidates than poisons, those whose own loss has the longest gradient become poisons, or
            those that come first.
    """
    import torch

    from poisonsets.methods.descent import OptimiserSpec
    from poisonsets.methods.gradients import published_step
    from poisonsets.methods.sources import draw_sources

    def craft(task: Task, context: Context) -> Crafted:
        spec = OptimiserSpec(
            steps=steps,
            step_size=published_step(step_size, context, batch=batch),
            restarts=restarts,
            augment=augment,
            choice=choice,
        )
        images, chosen = task.bases.clone(), []
        history: list[tuple[float, ...]] = []
        for trial in range(len(task.bases)):
            drawn = draw_sources(task, context, trial, sources, repeat=False)
            kept = _select(task, context, trial, by_length=selection == "gradient-norm")
            found = _craft_trial(task, context, trial, kept, drawn, spec=spec, batch=batch, retraining=retraining)
            images[trial, kept] = found.images[0]
            history.extend(found.history)
            chosen.append(kept)
        return Crafted(images, tuple(history), torch.stack(chosen))

    return craft


def _select(task: Task, context: Context, trial: int, *, by_length: bool) -> Tensor:
    """int64 [keep]: the candidates that become poisons, ascending."""
    import torch

    from poisonsets.methods.gradients import gradient_norms

    candidates = task.bases.shape[1]
    keep = task.keep or candidates
    if keep == candidates or not by_length:
        return torch.arange(keep)
    labels = task.labels[trial]
    norms = [gradient_norms(one, task.bases[trial], one.positions(labels)) for one in context.surrogates]
    order = torch.stack(norms).mean(0).sort(descending=True, stable=True).indices
    return order[:keep].sort().values.cpu()


def _craft_trial(
    task: Task,
    context: Context,
    trial: int,
    kept: Tensor,
    sources: SourceImages,
    *,
    spec: OptimiserSpec,
    batch: int,
    retraining: int,
) -> Crafted:
    """One trial's poisons, [1, keep, 3, H, W]; candidates that were not kept stay as they are in every retraining."""
    from poisonsets.methods.descent import descend
    from poisonsets.methods.gradients import Match, cosine, matching_objective, weight_gradient

    labels = task.labels[trial, kept]
    ascending = replace(sources, ids=tuple(sorted(sources.ids)))
    mislabelled = task.adversarial_labels[trial].expand(len(sources.ids))
    period = max(1, spec.steps // (retraining + 1))

    def match(network: Surrogate) -> Match:
        positions = network.positions(mislabelled)
        wanted = weight_gradient(network, ascending.stamped(), positions, batch=SOURCES_AT_ONCE)
        return Match(network, network.positions(labels), partial(cosine, wanted))

    given = [match(network) for network in context.surrogates]
    current = list(given)

    def before(restart: int, step: int, images: Tensor) -> None:
        turn, rest = divmod(step, period)
        if step == 0:
            current[:] = given
        elif rest == 0 and turn <= retraining:
            poisons = task.bases[trial].clone()
            poisons[kept] = images[0]
            if context.retrain is None:
                raise UsageError("sleeper-agent: networks cannot be trained anew here", "Set retraining=0")
            networks = context.retrain(trial, poisons, restart * retraining + turn - 1)
            current[:] = [match(network) for network in networks]

    own = replace(
        task,
        bases=task.bases[trial : trial + 1, kept],
        base_ids=(tuple(task.base_ids[trial][slot] for slot in kept.tolist()),),
        labels=labels[None],
    )
    alone = replace(context, generators=(context.generators[trial],))
    return descend(own, alone, matching_objective([current], batch=batch), spec, before=before)
