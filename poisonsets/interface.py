"""What an attack receives and returns. An attack is a factory that takes keyword settings and returns a function.

An attack works on float32 images in 0..1 on the device; conversion to integers happens in `budget.py` alone. It sees a
block of trials in one tensor: T trials of P poisons each. `surrogates.py` and `images.py` say what its networks and the
training images can do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # listing the attacks needs none of these
    import torch
    from torch import Tensor

    from poisonsets.images import TrainingImages
    from poisonsets.manifests.overlay.stamp import Trigger
    from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
    from poisonsets.manifests.workers import Progress
    from poisonsets.surrogates import Surrogate

Budget: TypeAlias = "Linf | L2 | Unconstrained"


@dataclass(frozen=True)
class Task:
    """A block of trials.

    Attributes:
        bases: float32 [T, P, 3, H, W] in 0..1.
        base_ids: the bases' indices into the training split, for each trial.
        targets: float32 [T, K, 3, H, W] in 0..1, without a trigger.
        labels: int64 [T, P], the poisons' labels.
        adversarial_labels: int64 [T].
        budget: the constraint on every poison of the block.
        source_classes: for each trial; empty unless the attack is a backdoor.
        trigger: a backdoor's trigger.
        keep: how many of the P candidates become poisons; P unless the attack selects.
    """

    bases: Tensor
    base_ids: tuple[tuple[int, ...], ...]
    targets: Tensor
    labels: Tensor
    adversarial_labels: Tensor
    budget: Budget
    source_classes: tuple[tuple[int, ...], ...] = ()
    trigger: Trigger | None = None
    keep: int = 0


Retrain: TypeAlias = "Callable[[int, Tensor, int], tuple[Surrogate, ...]]"


@dataclass(frozen=True)
class Context:
    """What the attacker has besides the task.

    Attributes:
        surrogates: the attacker's networks.
        generators: one CPU generator per trial, so that a trial's randomness does not depend on its block.
        device: where the tensors live.
        progress: called with (steps done, total steps).
        mirror: whether mirroring an image of this base preserves its meaning.
        training: the training split, for attacks that need `source images` or `training`.
        retrain: for attacks that need `training`: maps (the trial's position in the block, its poisons float32
            [P, 3, H, W], the retraining's number) to surrogates retrained on the poisoned training set.
    """

    surrogates: tuple[Surrogate, ...]
    generators: tuple[torch.Generator, ...]
    device: torch.device
    progress: Progress
    mirror: bool = False
    training: TrainingImages | None = None
    retrain: Retrain | None = None


@dataclass(frozen=True)
class Crafted:
    """An attack's result.

    Attributes:
        images: float32 [T, P, 3, H, W]; the driver always projects and rounds them, and stamps a trigger that is
            exempt from the budget or has none.
        history: the objective over time for each trial, starting before the first step.
        kept: int64 [T, keep], ascending positions of the candidates that become poisons; None keeps all.
    """

    images: Tensor
    history: tuple[tuple[float, ...], ...] = ()
    kept: Tensor | None = None


Attack: TypeAlias = Callable[[Task, Context], Crafted]
