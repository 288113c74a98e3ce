"""The attacker's networks. Only this module of the crafting package imports `poisonsets.victims`."""

import copy
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import TrainingRows, compose_slots, composed_images
from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.manifests.records.trial import Composition, Slots
from poisonsets.manifests.stream import Stream
from poisonsets.victims.device import device_refusal, gpu_model, is_out_of_memory
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.dropout import dropping
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.networks.image_size import refuse_size
from poisonsets.victims.networks.unfold import Unfolding
from poisonsets.victims.networks.weights import Weights, load_weights
from poisonsets.victims.placement import worker_device
from poisonsets.victims.precision import Precision, autocast, exact_arithmetic, refuse_precision
from poisonsets.victims.training.pgd import pgd_step
from poisonsets.victims.training.pretrain import fitted_network, training_ids
from poisonsets.victims.training.pretraining import Pretraining
from poisonsets.victims.training.views import shifted

__all__ = [
    "Precision",
    "Surrogate",
    "Surrogates",
    "Weights",
    "device_refusal",
    "exact_arithmetic",
    "gpu_model",
    "is_out_of_memory",
    "pgd_step",
    "refuse_precision",
    "refuse_size",
    "retrain_surrogate",
    "shifted",
    "worker_device",
]


@dataclass(frozen=True)
class Surrogates:
    """Networks by file, and which of them each trial's attacker has.

    Attributes:
        weights: the networks as read from their files.
        pool: whether each trial draws one, as the benchmark draws "one of ten checkpoints", or has all of them.
        included: whether the set carries the networks' files.
    """

    weights: tuple[Weights, ...] = ()
    pool: bool = False
    included: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Worker processes receive paths, and read and check the files again."""
        files = tuple((one.path, one.digest, one.network.spec.input) for one in self.weights)
        return _read_again, (files, self.pool, self.included)

    def of_trial(self, trial: int, seed: int) -> tuple[int, ...]:
        """Positions of the networks a trial's attacker has; the set's seed draws from a pool."""
        if not self.pool:
            return tuple(range(len(self.weights)))
        return (Stream("surrogate", seed, trial).below(len(self.weights)),)

    def records(self, trials: Iterable[int], seed: int) -> tuple[SurrogateRecord, ...]:
        """The manifest's record of each network; with a pool it lists the trials that drew the network."""
        numbers = tuple(trials)
        return tuple(
            SurrogateRecord(
                digest=one.digest,
                network=one.record["network"],
                pretraining=_pretraining(one),
                included=self.included,
                trials=tuple(n for n in numbers if i in self.of_trial(n, seed)) if self.pool else None,
            )
            for i, one in enumerate(self.weights)
        )


class Surrogate:
    """One of the attacker's networks, in eval mode; its weights are frozen unless others are passed in.

    It is two copies, each made on first use: one folded, one that takes weights as arguments. Folded weights are
    arguments too, of `folded_logits`; `unfolding` says what a gradient by them is by the weights.

    Args:
        network: not modified; nothing else may modify it while it is in use.
        classes: the label of each output of `logits`.
        device: where the copies live.
        precision: of the passes; results are always float32.

    Attributes:
        mean, std: of the normalisation, float32 [1, 3, 1, 1] in 0..1.
    """

    def __init__(
        self, network: Classifier, classes: tuple[int, ...], device: torch.device, precision: Precision = "fp32"
    ) -> None:
        self.classes = classes
        self.mean = network.mean.to(device)
        self.std = network.std.to(device)
        self._network = network
        self._precision = precision
        self._device = device

    @cached_property
    def _folded(self) -> Classifier:
        return folded(self._network).to(self._device)

    @cached_property
    def unfolding(self) -> Unfolding:
        """From gradients by the folded weights to those by `weights`, as one vector."""
        return Unfolding(self._functional)

    @cached_property
    def _functional(self) -> Classifier:
        copied = copy.deepcopy(self._network).eval().requires_grad_(requires_grad=False)
        return copied.placed(self._device)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Every trainable tensor by name, as in the file: batch normalisation is not folded."""
        return {name: tensor.detach() for name, tensor in self._functional.named_parameters()}

    def features(self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Map float32 [N, 3, H, W] in 0..1 to penultimate features, float32 [N, D]; gradients flow to the images.

        Args:
            dropout: share of each block's output values to drop; the rest is scaled up.
            generator: a CPU generator that draws the dropout masks.
        """
        return self.stages(images, dropout=dropout, generator=generator)[1]

    def stages(
        self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The feature map before the last block, float32 [N, C, h, w], and the penultimate features, float32 [N, D]."""
        if dropout and generator is None:
            raise UsageError(f"dropout={dropout} without a generator for its masks")
        masks = dropping(self._folded, dropout, generator) if dropout and generator else nullcontext()
        with autocast(self._device, self._precision), masks:
            maps, features = self._folded.stages(images)
        return maps.float(), features.float()

    def logits(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits, float32 [N, C], with the network's own weights or those passed in, which then receive gradients."""
        with autocast(self._device, self._precision):
            if weights is None:
                found: Tensor = self._folded(images)
            else:
                found = functional_call(self._functional, dict(weights), (images,))
        return found.float()

    def folded_logits(self, images: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """As `logits`, of weights by the names of `unfolding.weights`, batch normalisation folded into them."""
        with autocast(self._device, self._precision):
            found: Tensor = functional_call(self.unfolding.folded, dict(weights), (images,))
        return found.float()

    def positions(self, labels: Tensor) -> Tensor:
        """The output of `logits` for each label, int64 of the same shape on the device; every label must have one."""
        return self._positions[labels]

    @cached_property
    def _positions(self) -> Tensor:
        """int64 [largest label + 1], so that to look labels up is one operator; a label without output has -1."""
        found = torch.full((max(self.classes) + 1,), -1, dtype=torch.int64)
        found[torch.tensor(self.classes)] = torch.arange(len(self.classes))
        return found.to(self._device)


def retrain_surrogate(
    weights: Weights,
    base: Base,
    slots: Slots,
    poisons: Images,
    rule: Composition,
    *,
    seed: int,
    device: torch.device,
    precision: Precision = "fp32",
) -> Surrogate:
    """Repeat a surrogate's pretraining, with another seed, on the training set with the poisons composed into it.

    If the pretraining takes a subset of the images, the network is trained on that subset and on all poisons. Raises
    as `Pretraining.of_record` and `fitted_network`.

    Args:
        weights: the surrogate.
        base: the clean dataset.
        slots: the poisons' bases and labels.
        poisons: uint8 [P, H, W, 3].
        rule: how they enter the training set.
        seed: of initial weights, order and views.
        device: where to train.
        precision: of the training and of the attack's passes through the network.
    """
    recorded = Pretraining.of_record(weights.record["pretraining"])
    pretraining = replace(recorded, input=weights.network.spec.input)
    rows = compose_slots(base.train.labels, slots, rule, pretraining.classes)
    seen = (rows.slot >= 0) | np.isin(rows.base, training_ids(pretraining, base))
    chosen = TrainingRows(rows.base[seen], rows.slot[seen], rows.label[seen])
    images = composed_images(base.train.images, chosen, poisons)
    composed = replace(base, train=Split(images, chosen.label))
    network = fitted_network(replace(pretraining, seed=seed, images=0, precision=precision), composed, device=device)
    return Surrogate(network, pretraining.classes, device, precision)


def _read_again(files: Iterable[tuple[Path, str, int | None]], pool: bool, included: bool) -> Surrogates:
    weights = tuple(load_weights(path, input=side) for path, _, side in files)
    for one, (path, digest, _) in zip(weights, files, strict=True):
        if one.digest != digest:
            raise DamagedError(f"{path}: has changed since crafting began", "Craft again")
    return Surrogates(weights, pool, included)


def _pretraining(weights: Weights) -> dict[str, Any]:
    """What a manifest says of a network's pretraining, with its width and, where it has one, its input size."""
    spec = weights.network.spec
    size = {} if spec.input is None else {"input": spec.input}
    return {**_frozen(weights.record["pretraining"]), "width": spec.width, **size}


def _frozen(pretraining: dict[str, Any]) -> dict[str, Any]:
    """A pretraining with its lists as the tuples that a manifest's frozen values take."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in pretraining.items()}
