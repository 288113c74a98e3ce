"""The attacker's networks. The one module of the crafting package that knows `poisonsets.victims`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from poisonsets.interface import Surrogate
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import TrainingRows, compose_slots, composed_images
from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.manifests.records.trial import Composition, Slots
from poisonsets.manifests.stream import Stream
from poisonsets.victims.device import exact_arithmetic
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.dropout import dropping
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.networks.weights import Weights, load_weights
from poisonsets.victims.training.loop import Precision, autocast
from poisonsets.victims.training.pgd import pgd_step
from poisonsets.victims.training.pretrain import fitted_network, training_ids
from poisonsets.victims.training.pretraining import Pretraining
from poisonsets.victims.training.views import shifted

__all__ = [
    "Precision",
    "Surrogates",
    "Weights",
    "exact_arithmetic",
    "pgd_step",
    "retrain_surrogate",
    "shifted",
    "surrogate_of",
]


@dataclass(frozen=True)
class Surrogates:
    """Networks by file, and which of them each trial's attacker has.

    Attributes:
        weights: the networks as read from their files.
        pool: False: every trial has all of them; True: each trial draws one, as the benchmark's "one of ten
            checkpoints".
        included: whether the set is to carry the networks' files.
    """

    weights: tuple[Weights, ...] = ()
    pool: bool = False
    included: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Networks go to worker processes as files, which are read and checked again there."""
        return _read_again, (tuple((one.path, one.digest) for one in self.weights), self.pool, self.included)

    def of_trial(self, trial: int, seed: int) -> tuple[int, ...]:
        """Positions of the networks that a trial's attacker has; a pool's is drawn from the set's seed."""
        if not self.pool:
            return tuple(range(len(self.weights)))
        return (Stream("surrogate", seed, trial).below(len(self.weights)),)

    def records(self, trials: Iterable[int], seed: int) -> tuple[SurrogateRecord, ...]:
        """What the manifest says of each network: digest, pretraining, and with a pool the trials that drew it."""
        numbers = tuple(trials)
        return tuple(
            SurrogateRecord(
                digest=one.digest,
                network=one.record["network"],
                pretraining={**_frozen(one.record["pretraining"]), "width": one.record["width"]},
                included=self.included,
                trials=tuple(n for n in numbers if i in self.of_trial(n, seed)) if self.pool else None,
            )
            for i, one in enumerate(self.weights)
        )


def surrogate_of(
    network: Classifier, classes: tuple[int, ...], device: torch.device, precision: Precision = "fp32"
) -> Surrogate:
    """A network as attacks see it.

    Args:
        network: left as it is; nobody may change it while it is in use.
        classes: the label that each of its outputs stands for.
        device: where it shall live.
        precision: of its passes; results are float32 in any case.
    """
    return _NetworkSurrogate(network, classes, device, precision)


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
    """The network that a surrogate's pretraining makes of the training set that the poisons are composed into.

    Where the pretraining takes part of the images, the network is trained on that part and on all poisons.

    Args:
        weights: the surrogate; its pretraining is used, with another seed.
        base: the clean dataset.
        slots: the poisons' bases and labels.
        poisons: uint8 [P, H, W, 3].
        rule: how they enter the training set.
        seed: of initial weights, order and views.
        device: where to train.
        precision: of the network's passes when it is attacked; training itself is float32.

    Raises:
        UsageError: as `Pretraining.of_record` and `fitted_network`.
    """
    pretraining = Pretraining.of_record(weights.record["pretraining"])
    rows = compose_slots(base.train.labels, slots, rule, pretraining.classes)
    seen = (rows.slot >= 0) | np.isin(rows.base, training_ids(pretraining, base))
    chosen = TrainingRows(rows.base[seen], rows.slot[seen], rows.label[seen])
    images = composed_images(base.train.images, chosen, poisons)
    composed = replace(base, train=Split(images, chosen.label))
    network = fitted_network(replace(pretraining, seed=seed, images=0), composed, device=device)
    return surrogate_of(network, pretraining.classes, device, precision)


class _NetworkSurrogate:
    """A network as two copies, each made when it is first used: one folded, one whose weights may be passed in."""

    def __init__(
        self, network: Classifier, classes: tuple[int, ...], device: torch.device, precision: Precision
    ) -> None:
        self._network = network
        self._classes = classes
        self._position = {label: i for i, label in enumerate(classes)}
        self._precision = precision
        self._device = device

    @cached_property
    def _folded(self) -> Classifier:
        return folded(self._network).to(self._device)

    @cached_property
    def _functional(self) -> Classifier:
        copied = copy.deepcopy(self._network).eval().requires_grad_(requires_grad=False)
        return copied.to(memory_format=torch.channels_last).to(self._device)

    @cached_property
    def mean(self) -> Tensor:
        return self._network.mean.to(self._device)

    @cached_property
    def std(self) -> Tensor:
        return self._network.std.to(self._device)

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in self._functional.named_parameters()}

    def features(self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        return self.stages(images, dropout=dropout, generator=generator)[1]

    def stages(
        self, images: Tensor, *, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        if dropout and generator is None:
            raise UsageError(f"a dropout of {dropout} without a generator of its masks")
        masks = dropping(self._folded, dropout, generator) if dropout and generator else nullcontext()
        with self._arithmetic(), masks:
            maps, features = self._folded.stages(images)
        return maps.float(), features.float()

    def logits(self, images: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        with self._arithmetic():
            if weights is None:
                found: Tensor = self._folded(images)
            else:
                found = functional_call(self._functional, dict(weights), (images,))
        return found.float()

    @property
    def classes(self) -> tuple[int, ...]:
        return self._classes

    def positions(self, labels: Tensor) -> Tensor:
        known = [self._position[int(label)] for label in labels.flatten()]
        return torch.tensor(known, dtype=torch.int64, device=self._device).view(labels.shape)

    def _arithmetic(self) -> AbstractContextManager[object]:
        return autocast(self._device, self._precision)


def _read_again(files: Iterable[tuple[Path, str]], pool: bool, included: bool) -> Surrogates:
    weights = tuple(load_weights(path) for path, _ in files)
    for one, (path, digest) in zip(weights, files, strict=True):
        if one.digest != digest:
            raise DamagedError(f"{path}: has changed since crafting began", "Craft again")
    return Surrogates(weights, pool, included)


def _frozen(pretraining: dict[str, Any]) -> dict[str, Any]:
    """A pretraining with its lists as the tuples that a manifest's frozen values take."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in pretraining.items()}
