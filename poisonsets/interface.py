"""What an attack receives and returns. An attack is a factory that takes keyword settings and returns a function.

An attack works on float32 images in 0..1 on the device; conversion to integers happens in `budget.py` alone. It sees a
block of trials in one tensor: T trials of P poisons each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # listing the attacks needs none of these
    import torch
    from torch import Tensor

    from poisonsets.manifests.files.pixels import Labels
    from poisonsets.manifests.overlay.stamp import Trigger
    from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
    from poisonsets.manifests.workers import Progress

Budget: TypeAlias = "Linf | L2 | Unconstrained"


class Surrogate(Protocol):
    """One of the attacker's networks, in eval mode; its weights are frozen unless others are passed in."""

    @property
    def mean(self) -> Tensor:
        """The normalisation's mean, float32 [1, 3, 1, 1] in 0..1."""

    @property
    def std(self) -> Tensor:
        """The normalisation's standard deviation, float32 [1, 3, 1, 1] in 0..1."""

    def features(self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Map float32 [N, 3, H, W] in 0..1 to penultimate features, float32 [N, D]; gradients flow to the images.

        Args:
            dropout: share of each block's output values to drop; the rest is scaled up.
            generator: a CPU generator that draws the dropout masks.
        """
        ...

    def stages(
        self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The feature map before the last block, float32 [N, C, h, w], and the penultimate features, float32 [N, D]."""
        ...

    def logits(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits, float32 [N, C], with the network's own weights or those passed in, which then receive gradients."""
        ...

    @property
    def weights(self) -> dict[str, Tensor]:
        """Every trainable tensor by name, as in the file: batch normalisation is not folded."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The label of each output of `logits`."""

    def positions(self, labels: Tensor) -> Tensor:
        """The output of `logits` for each label, int64 of the same shape; every label must have one."""
        ...


class TrainingImages(Protocol):
    """The base's training split as an attack reads it."""

    @property
    def labels(self) -> Labels:
        """int64 [N]."""

    def images(self, ids: Sequence[int]) -> Tensor:
        """float32 [n, 3, H, W] in 0..1 on the device."""
        ...

    def stamped(self, ids: Sequence[int], trigger: Trigger) -> Tensor:
        """The same images with a trigger, placed by each image's id."""
        ...


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
