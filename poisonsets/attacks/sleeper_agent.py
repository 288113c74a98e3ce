"""Sleeper Agent: the poisons' gradient matches that of patched source images, though no poison shows the trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from poisonsets.interface import Attack, Context, Crafted, Surrogate, Task, TrainingImages
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.methods.descent import OptimiserSpec, descend
from poisonsets.methods.gradients import Match, cosine, gradient_norms, matching_objective, weight_gradient
from poisonsets.registry import Traits, attack
from poisonsets.settings import Range

PUBLISHED_BATCH = 512
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
    steps: Annotated[int, Range(1, 100_000)] = 250,
    step_size: Annotated[float, Range(1e-9, 1e3)] = 0.1,
    augment: bool = True,
    sources: Annotated[int, Range(1, 1_000_000)] = 1000,
    retraining: Annotated[int, Range(0, 1000)] = 4,
    selection: Literal["gradient-norm", "none"] = "gradient-norm",
    batch: Annotated[int, Range(1, 100_000)] = PUBLISHED_BATCH,
    choice: Literal["evaluated", "published"] = "evaluated",
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
        augment: whether each step sees every poison shifted and mirrored.
        sources: source images, drawn once a trial; all where there are fewer. Published 1,000.
        retraining: how often the networks are trained anew during a restart; published 4.
        selection: the candidates with the longest gradients become poisons, or those that come first.
        batch: larger sets are matched batch by batch, in the order of their slots; published 512.
        choice: of the restart: by its loss over fixed views, or by that of its last step.
    """

    def craft(task: Task, context: Context) -> Crafted:
        frame = OptimiserSpec(
            steps=steps,
            step_size=step_size * batch / PUBLISHED_BATCH / len(context.surrogates),
            restarts=restarts,
            augment=augment,
            choice=choice,
        )
        images, chosen = task.bases.clone(), []
        history: list[tuple[float, ...]] = []
        for trial in range(len(task.bases)):
            aimed = _sources(task, context, trial, sources)
            kept = _kept(task, context, trial, by_length=selection == "gradient-norm")
            found = _crafted(task, context, trial, kept, aimed, frame=frame, batch=batch, retraining=retraining)
            images[trial, kept] = found.images[0]
            history.extend(found.history)
            chosen.append(kept)
        return Crafted(images, tuple(history), torch.stack(chosen))

    return craft


@dataclass(frozen=True)
class _Sources:
    """Training images by id that are to be taken for the class of the label with the trigger on."""

    training: TrainingImages
    trigger: Trigger
    ids: tuple[int, ...]
    label: Tensor

    def gradient(self, network: Surrogate) -> Tensor:
        """The gradient of their mean loss, float32 [D]."""
        images = self.training.stamped(self.ids, self.trigger)
        return weight_gradient(
            network, images, network.positions(self.label.expand(len(images))), batch=SOURCES_AT_ONCE
        )


def _sources(task: Task, context: Context, trial: int, count: int) -> _Sources:
    """So many training images of the trial's source classes, or all there are, drawn by its generator."""
    if context.training is None or task.trigger is None:
        raise UsageError(
            "sleeper-agent: no training images or no trigger", "Give the trial source classes and a trigger"
        )
    classes = torch.tensor(task.source_classes[trial])
    there = torch.isin(torch.tensor(context.training.labels), classes).nonzero()[:, 0]
    if not len(there):
        raise UsageError(f"sleeper-agent: no training image is of the source classes {task.source_classes[trial]}")
    drawn = there[torch.randperm(len(there), generator=context.generators[trial])[:count]]
    ids = tuple(drawn.sort().values.tolist())
    return _Sources(context.training, task.trigger, ids, task.adversarial_labels[trial])


def _kept(task: Task, context: Context, trial: int, *, by_length: bool) -> Tensor:
    """int64 [keep]: the candidates that become poisons, ascending."""
    candidates = task.bases.shape[1]
    keep = task.keep or candidates
    if keep == candidates or not by_length:
        return torch.arange(keep)
    labels = task.labels[trial]
    norms = [gradient_norms(one, task.bases[trial], one.positions(labels)) for one in context.surrogates]
    order = torch.stack(norms).mean(0).sort(descending=True, stable=True).indices
    return order[:keep].sort().values.cpu()


def _crafted(
    task: Task,
    context: Context,
    trial: int,
    kept: Tensor,
    aimed: _Sources,
    *,
    frame: OptimiserSpec,
    batch: int,
    retraining: int,
) -> Crafted:
    """One trial's poisons, [1, keep, 3, H, W]; candidates that were not kept stay as they are in every retraining."""
    labels = task.labels[trial, kept]
    period = max(1, frame.steps // (retraining + 1))

    def matches(networks: Sequence[Surrogate]) -> list[Match]:
        return [Match(one, one.positions(labels), partial(cosine, aimed.gradient(one))) for one in networks]

    given = matches(context.surrogates)
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
            current[:] = matches(context.retrain(trial, poisons, restart * retraining + turn - 1))

    own = replace(
        task,
        bases=task.bases[trial : trial + 1, kept],
        base_ids=(tuple(task.base_ids[trial][slot] for slot in kept.tolist()),),
        labels=labels[None],
    )
    alone = replace(context, generators=(context.generators[trial],))
    return descend(own, alone, matching_objective([current], batch=batch), frame, before=before)
