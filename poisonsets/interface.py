"""What an attack is given and what it gives back. An attack is a factory of keyword settings returning a function.

Images are float32 in 0..1 on the device while an attack works on them; integers come in before and go out after, in
`budget.py` alone. An attack sees a block of trials in one tensor: T trials of P poisons each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # a list of attacks needs neither
    import torch
    from torch import Tensor

    from poisonsets.manifests.files.pixels import Labels
    from poisonsets.manifests.overlay.stamp import Trigger
    from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
    from poisonsets.manifests.workers import Progress

Budget: TypeAlias = "Linf | L2 | Unconstrained"


class Surrogate(Protocol):
    """A network of the attacker, in eval mode; of frozen weights unless weights are passed in."""

    @property
    def mean(self) -> Tensor:
        """float32 [1, 3, 1, 1], the normalisation's mean in 0..1."""

    @property
    def std(self) -> Tensor:
        """float32 [1, 3, 1, 1], the normalisation's standard deviation in 0..1."""

    def features(self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """float32 [N, 3, H, W] in 0..1 to the penultimate features, float32 [N, D].

        Args:
            images: the images; gradients flow to them.
            dropout: share of each block's output values that is dropped, the rest scaled up.
            generator: of the dropout's masks (a CPU generator).
        """
        ...

    def stages(
        self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The map before the last block, float32 [N, C, h, w], and the penultimate features, float32 [N, D]."""
        ...

    def logits(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """float32 [N, C], of the network's own weights or of those passed in, through which gradients flow then."""
        ...

    @property
    def weights(self) -> dict[str, Tensor]:
        """Every trainable tensor by name, as it stands in the file: batch normalisation is not folded away."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The label that each output of `logits` stands for."""

    def positions(self, labels: Tensor) -> Tensor:
        """int64: which output of `logits` stands for each of these labels; every one is among the outputs."""
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
        """The same with a trigger on, each image at the place that its id gives."""
        ...


@dataclass(frozen=True)
class Task:
    """A block of trials.

    Attributes:
        bases: float32 [T, P, 3, H, W] in 0..1.
        base_ids: for each trial the bases' indices into the training split.
        targets: float32 [T, K, 3, H, W] in 0..1, without a trigger.
        labels: int64 [T, P], the poisons' labels.
        adversarial_labels: int64 [T].
        budget: the constraint that every poison of the block must meet.
        source_classes: of each trial; empty where the attack is no backdoor.
        trigger: of a backdoor.
        keep: how many of the P candidates become poisons; P, but where an attack selects.
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
        generators: one CPU generator a trial, so that a trial's randomness does not depend on its block.
        device: where the tensors live.
        progress: told (steps done, steps in all).
        mirror: whether an image of this base and its mirror image show the same thing.
        training: the training split, for attacks that need `source images` or `training`.
        retrain: for attacks that need `training`: (position of the trial in the block, its poisons float32
            [P, 3, H, W], which retraining this is) to the surrogates trained anew on the poisoned training set.
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
        images: float32 [T, P, 3, H, W]; the driver projects and rounds them whatever the attack promises, and stamps
            a trigger that is exempt from the budget or knows none.
        history: for each trial the objective's values over time, the first before the first step.
        kept: int64 [T, keep], ascending positions of the candidates that become poisons; None keeps all.
    """

    images: Tensor
    history: tuple[tuple[float, ...], ...] = ()
    kept: Tensor | None = None


Attack: TypeAlias = Callable[[Task, Context], Crafted]
