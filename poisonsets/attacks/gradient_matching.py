"""Gradient matching: training on the poisons moves the weights as training on the mislabelled targets would."""

from __future__ import annotations

from typing import Annotated, Literal

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack
from poisonsets.settings import PUBLISHED_BATCH, Augment, Batch, Choice, Range, Steps, StepSize


@attack(
    "gradient-matching",
    version=2,
    aliases=("WiB", "witches-brew"),
    traits=Traits(objective="gradient", randomised=True, needs=frozenset({"gradients"}), batched=False),
    source="Geiping et al. 2021",
)
def gradient_matching(
    *,
    restarts: Annotated[int, Range(1, 1000)] = 8,
    steps: Steps = 250,
    step_size: StepSize = 0.1,
    optimiser: Literal["signed-adam", "adam"] = "signed-adam",
    decays: bool = True,
    start: Literal["normal", "bases"] = "normal",
    augment: Augment = True,
    matching: Literal["cosine", "euclidean"] = "cosine",
    target_loss: Literal["cross-entropy", "carlini-wagner"] = "cross-entropy",
    batch: Batch = PUBLISHED_BATCH,
    choice: Choice = "evaluated",
    noise: Annotated[float, Range(0, 1e3)] = 0.0,
    clip: Annotated[float, Range(1e-9, 1e9)] = 1.0,
) -> Attack:
    """Minimise 1 - cos(g_t, g_p): the poisons' weight gradient aligns with that of the targets, mislabelled.

    Geiping et al. (2021, "Witches' Brew"), algorithm 1. g_t is the gradient of the mean loss of a trial's targets as
    the adversarial class, unaugmented, computed once; g_p that of the poisons' cross-entropy; both span all trainable
    tensors as one vector, with batch normalisation in eval mode. With several networks the poisons' gradient is the sum
    over them, the reported loss their mean. What differs: the best restart is chosen by four fixed views, not by its
    last step's noisy loss (`choice`); a start lies within 0..1; only the targets use the margin loss, whose largest
    logit leaves out the wanted class (in the authors' code, correctly classified poisons make the cosine 0/0); dropout
    is off; second gradients of weights are not computed.

    Args:
        restarts: independent starts, of which the best is kept; published 8.
        steps: steps per restart; published 250.
        step_size: in units of the standard deviation, times batch / 512 and divided by the number of networks, as
            published (0.1; the benchmark's ensemble of three kinds: 0.5 with a batch of 128).
        optimiser: Adam on the gradient's signs, as published, or on the gradient.
        decays: whether the step size falls to a tenth after 3/8, 5/8 and 7/8 of the steps.
        start: a normal perturbation of the budget's size, cut to the budget, or the bases.
        matching: the cosine, or ||g_t - g_p||^2 / (2 ||g_t||), from the paper's table 8.
        target_loss: the loss behind g_t; Carlini and Wagner's margin is from the paper's table 8.
        noise: against a victim that clips its gradient and adds noise: g_p is clipped to `clip` and gets fresh
            N(0, (clip * noise)^2) at every evaluation; 0 does neither. In the authors' code the clip has no effect.
        clip: length to clip g_p to; no effect without `noise`.
    """
    from poisonsets.methods import gradients
    from poisonsets.methods.descent import OptimiserSpec, descend

    distance, criterion = gradients.DISTANCES[matching], gradients.CRITERIA[target_loss]

    def craft(task: Task, context: Context) -> Crafted:
        (targets,), (labels,) = task.targets, task.labels
        mislabelled = task.adversarial_labels.expand(len(targets))
        matches = []
        for network in context.surrogates:
            wanted = gradients.weight_gradient(network, targets, network.positions(mislabelled), criterion=criterion)
            mismatch = distance(wanted)
            if noise:
                mismatch = gradients.clip_and_noise(mismatch, context.generators[0], clip=clip, noise=noise)
            matches.append(gradients.Match(network, network.positions(labels), mismatch))
        spec = OptimiserSpec(
            steps=steps,
            step_size=gradients.published_step(step_size, context, batch=batch),
            optimiser=optimiser,
            decays=decays,
            restarts=restarts,
            start=start,
            augment=augment,
            choice=choice,
        )
        return descend(task, context, gradients.matching_objective(matches, batch=batch), spec)

    return craft
