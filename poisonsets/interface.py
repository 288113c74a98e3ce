"""What an attack is given and what it gives back. An attack is a factory of keyword settings returning a function.

Images are float32 in 0..1 on the device while an attack works on them; integers come in before and go out after, in
`budget.py` alone. An attack sees a block of trials in one tensor: T trials of P poisons each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from poisonsets.manifests.model import L2, Linf, Unconstrained

Budget: TypeAlias = Linf | L2 | Unconstrained
Need: TypeAlias = Literal["features", "gradients", "robust", "source images", "trigger", "training"]


@dataclass(frozen=True)
class Range:
    """The values a numeric setting may take, written into its annotation: `steps: Annotated[int, Range(1, 10_000)]`.

    Attributes:
        least, most: both allowed.
    """

    least: float
    most: float


@dataclass(frozen=True)
class Traits:
    """What an attack declares about itself; the law tests follow from it.

    Attributes:
        labels: `clean`: every poison keeps its base's label.
        objective: what it minimises, if anything.
        randomised: whether another seed gives other poisons.
        perturbs: whether poisons are perturbed bases (then a zero budget returns the bases).
        targeted: whether another target gives other poisons.
        needs: what must be there before it can start.
        batched: whether a block holds several trials in one tensor, or one.
    """

    labels: Literal["clean", "adversarial"] = "clean"
    objective: Literal["feature", "gradient", "none"] = "none"
    randomised: bool = False
    perturbs: bool = True
    targeted: bool = True
    needs: frozenset[Need] = frozenset()
    batched: bool = True


class FeatureNetwork(Protocol):
    """A frozen surrogate: eval mode, no parameter gradients, batch norm folded into the convolutions."""

    std: Tensor

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, 3, H, W] in 0..1 to the penultimate features, float32 [N, D]."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, C]."""
        ...


@dataclass(frozen=True)
class Task:
    """A block of trials.

    Attributes:
        bases: float32 [T, P, 3, H, W] in 0..1.
        targets: float32 [T, K, 3, H, W] in 0..1.
        labels: int64 [T, P], the poisons' labels.
        adversarial_labels: int64 [T].
        budget: the constraint that every poison of the block must meet.
    """

    bases: Tensor
    targets: Tensor
    labels: Tensor
    adversarial_labels: Tensor
    budget: Budget


@dataclass(frozen=True)
class Context:
    """What the attacker has besides the task.

    Attributes:
        surrogates: the attacker's networks.
        generators: one CPU generator a trial, so that a trial's randomness does not depend on its block.
        device: where the tensors live.
        progress: told (steps done, steps in all).
    """

    surrogates: tuple[FeatureNetwork, ...]
    generators: tuple[torch.Generator, ...]
    device: torch.device
    progress: Callable[[int, int], None]


@dataclass(frozen=True)
class Crafted:
    """An attack's result.

    Attributes:
        images: float32 [T, P, 3, H, W]; the driver projects and rounds them whatever the attack promises.
        history: for each trial the objective's values over time, the first before the first step.
    """

    images: Tensor
    history: tuple[tuple[float, ...], ...] = ()


Attack: TypeAlias = Callable[[Task, Context], Crafted]
