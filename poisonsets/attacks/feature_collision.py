"""Feature collision (Poison Frogs): each poison by itself moves onto the target in feature space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.registry import Traits, attack
from poisonsets.settings import Augment, LearningRate, Range, Restarts, Steps

if TYPE_CHECKING:
    from torch import Tensor

    from poisonsets.methods.descent import Objective
    from poisonsets.methods.line_search import Aim, Slope


@attack(
    "feature-collision",
    version=3,
    aliases=("FC", "poison-frogs"),
    traits=Traits(objective="feature", needs=frozenset({"features"})),
    source="Shafahi et al. 2018; Schwarzschild et al. 2021",
)
def feature_collision(
    *,
    steps: Steps = 120,
    learning_rate: LearningRate = 0.001,
    decay: Annotated[float, Range(0.01, 0.99)] = 0.2,
    growth: Annotated[float, Range(1, 10)] = 1.0,
    watermark: Annotated[float, Range(0, 1)] = 0.3,
    tolerance: Annotated[float, Range(0, 1)] = 1e-5,
    line_search: Literal["fixed", "published"] = "fixed",
    penalty: Annotated[float, Range(0, 1e9)] = 0.0,
    optimiser: Literal["line-search", "adam", "signed-adam"] = "line-search",
    restarts: Restarts = 1,
    augment: Augment = False,
) -> Attack:
    """Minimise ||f(x) - f(t)||^2 + penalty ||x - b||^2 for each poison by projected gradient with a backtracking step.

    The default is the l-infinity form of Schwarzschild et al. (2021), where the ball replaces the penalty of Shafahi et
    al. (2018), equation 1. With a penalty each step is the forward-backward step of Shafahi et al., then projected onto
    the budget. Distances are summed over the networks; several targets of a trial are views of one object, whose losses
    are averaged, and the first gives the watermark.

    What differs: the published search compares the loss of the current point with that of the previous one and, once it
    rises, keeps comparing the same two, so that 13 of 16 poisons stop after one step; here (`line_search=fixed`) a step
    is tried, kept if the loss falls, and shortened by `decay` if not. The watermark start is projected before the first
    loss is measured. The published backward step, (x + rate penalty b) / (1 + rate penalty), applies half the
    objective's penalty; the fixed search applies all of it. Finished poisons cost nothing further.

    Raises UsageError for a line search with restarts or augmentation, and for a penalty with augmentation.

    Args:
        steps: gradient evaluations per poison; published 120.
        learning_rate: first step size of the line search, for images in 0..1; published 0.001. For the other optimisers
            in units of the standard deviation, where 0.04 to 0.1 are usual.
        decay: factor on the step size after a rejected step of `line_search=fixed`; published 0.2.
        growth: factor on the line search's step size after an accepted step; published 1.
        watermark: share of the target in the line search's start, w t + (1 - w) b; published 0.3.
        tolerance: the line search of a poison ends when an accepted step changes its loss by less than this share
            (`fixed`), or a step the image by less than this share of its length (`published`); published 1e-5.
        line_search: `fixed` tries a step and keeps it if the loss falls; `published` starts outside the budget, takes
            every step and stops at the first that raises the loss.
        penalty: weight of the squared distance in 0..1 to the base; 0 leaves only the ball. Shafahi et al. take 0.25
            (D / pixel values)^2, D features, for images in 0..255, which is 255^2 times that here; Schwarzschild et al.
            take 4 for their l2 form.
        optimiser: `line-search` as published; `adam` and `signed-adam` descend on the mean over a trial's poisons, as
            in Witches' Brew (whose own "poison frogs" moves the mean feature, as bullseye-polytope does).
    """
    from poisonsets.methods.descent import descend
    from poisonsets.methods.features import feature_optimiser
    from poisonsets.methods.line_search import LineSearch

    _refuse_misfits(optimiser, restarts, penalty, augment=augment)
    search = LineSearch(steps, learning_rate, decay, growth, tolerance, penalty, published=line_search == "published")

    def craft(task: Task, context: Context) -> Crafted:
        aim = _aim(task, context)
        if optimiser == "line-search":
            first = task.targets[:, :1]
            return search.run(task, context, aim, (1 - watermark) * task.bases + watermark * first)
        spec = feature_optimiser(
            steps=steps, learning_rate=learning_rate, optimiser=optimiser, restarts=restarts, augment=augment
        )
        return descend(task, context, _mean_over_poisons(task, aim, penalty), spec)

    return craft


def _refuse_misfits(optimiser: str, restarts: int, penalty: float, *, augment: bool) -> None:
    if optimiser == "line-search" and (restarts > 1 or augment):
        raise UsageError(
            f"feature-collision: restarts={restarts} augment={str(augment).lower()} with optimiser=line-search, "
            "which neither restarts nor augments",
            "Use optimiser=adam or signed-adam, or leave both out",
        )
    if penalty > 0 and augment:
        raise UsageError(
            f"feature-collision: penalty={penalty:g} with augment=true, which would compare a shifted image with its "
            "unshifted base",
            "Leave one of them out",
        )


def _aim(task: Task, context: Context) -> Aim:
    """The squared feature distance of any subset of the block's poisons."""
    import torch

    from poisonsets.methods.descent import differentiable
    from poisonsets.methods.features import FeatureSpec, target_features

    poisons = task.bases.shape[1]
    targets = [goals[-1] for goals in target_features(task, context, FeatureSpec())]

    def aim(positions: Tensor) -> Slope:
        goals = [goal[positions // poisons] for goal in targets]

        def distances(images: Tensor) -> Tensor:
            each = [
                (network.features(images)[:, None] - goal).square().sum(2).mean(1)
                for network, goal in zip(context.surrogates, goals, strict=True)
            ]
            return torch.stack(each).sum(0)

        return differentiable(distances).slope

    return aim


def _mean_over_poisons(task: Task, aim: Aim, penalty: float) -> Objective:
    """The objective of whole trials, penalty included, for an optimiser without a backward step."""
    import torch

    from poisonsets.methods.descent import Objective

    evaluate = aim(torch.arange(task.bases.shape[0] * task.bases.shape[1], device=task.bases.device))

    def slope(images: Tensor) -> tuple[Tensor, Tensor]:
        loss, gradient = evaluate(images.flatten(0, 1))
        moved = images - task.bases
        losses = loss.view(images.shape[:2]) + penalty * moved.square().flatten(2).sum(2)
        return losses.mean(1), (gradient.view_as(images) + 2 * penalty * moved) / images.shape[1]

    return Objective(lambda images: slope(images)[0], slope)
