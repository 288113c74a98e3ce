"""All victims of one protocol and one frozen extractor: what they share is computed once.

Shared are the folded extractor, the features of clean training images, those of the test images, and the
clean controls, which are one wherever their rows and victim seed are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from poisonsets.manifests.bases.dataset import Base, Images
from poisonsets.manifests.compose import Rows, clean_control, compose
from poisonsets.manifests.errors import UsageError, ViolationError
from poisonsets.manifests.model import Trial
from poisonsets.victims.features import FeatureCache
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.training import images_of
from poisonsets.victims.transfer import draw, remembered, train_head, victim_generator


@dataclass(frozen=True)
class Victim:
    """A trained head and its count of correct test images."""

    head: nn.Linear
    correct: int


@dataclass(frozen=True)
class Verdict:
    """What a trial's victim and its clean control make of the targets.

    Attributes:
        poisoned: the label each target is given, in the trial's order.
        control: the same of the clean control; None where a base is unknown.
        correct, control_correct: test images given their own label.
        images: test images.
        training_images: rows of the training set.
        poisons: those of them that are poisons.
        control_rows: the digest of the control's rows; trials with equal ones share one control a seed.
    """

    poisoned: tuple[int, ...]
    control: tuple[int, ...] | None
    correct: int
    control_correct: int | None
    images: int
    training_images: int
    poisons: int
    control_rows: str | None


class FrozenVictims:
    """Trains and questions victims that share a protocol and an extractor.

    Args:
        protocol: every training setting.
        extractor: the network whose head is replaced; left as it is.
        base: the victims know its `poison_classes`.
        device: where to compute.
    """

    def __init__(self, protocol: Protocol, extractor: Classifier, base: Base, device: torch.device) -> None:
        self._protocol, self._base, self._device = protocol, base, device
        self._classes = base.poison_classes
        self._network = folded(extractor).to(device)
        self.clean = self._cache(base.train.images)
        images, labels = images_of(base.test, self._classes)
        self._test_features = self._cache(images).plain()
        self._test_labels = torch.from_numpy(labels).to(device)
        self._controls: dict[tuple[int, str], Victim] = {}

    def poison_features(self, poisons: Images) -> FeatureCache:
        """An empty feature cache for a trial's poisons uint8 [P, H, W, 3], for all its victims."""
        return self._cache(poisons)

    def verdict(self, trial: Trial, poisons: FeatureCache, targets: Images, victim_seed: int) -> Verdict:
        """Train the poisoned victim and its clean control, and ask both for the targets.

        Args:
            trial: its record.
            poisons: what `poison_features` made of its poisons.
            targets: uint8 [K, H, W, 3], with the trigger on where there is one.
            victim_seed: which of several victims.

        Raises:
            UsageError: the composition rule cannot be met.
            ViolationError: the victim or its control diverged, so that its predictions mean nothing.
        """
        where = f"trial {trial.trial}, protocol {self._protocol.id}, victim seed {victim_seed}"
        rule = self._protocol.rule(trial)
        rows = compose(self._base.train.labels, trial, rule, self._classes)
        control_rows = clean_control(self._base.train.labels, rows, rule, self._classes)
        drawn_by = rows if control_rows is None else control_rows
        victim = self._train(rows, poisons, victim_seed, drawn_by, where=f"{where}: the victim")
        control_name = f"{where}: the clean control"
        control = None if control_rows is None else self.control(control_rows, victim_seed, where=control_name)
        features = self._cache(targets).plain()
        return Verdict(
            poisoned=self._labels(victim, features, where=f"{where}: the victim"),
            control=None if control is None else self._labels(control, features, where=control_name),
            correct=victim.correct,
            control_correct=None if control is None else control.correct,
            images=len(self._test_labels),
            training_images=len(rows),
            poisons=int((rows.slot >= 0).sum()),
            control_rows=None if control_rows is None else control_rows.digest(),
        )

    def control(self, rows: Rows, victim_seed: int, *, where: str = "the clean control") -> Victim:
        """The victim of clean rows, trained once for each victim seed and remembered.

        Args:
            rows: without poisons.
            victim_seed: which of several victims.
            where: how a refusal names it.

        Raises:
            ViolationError: it diverged.
        """
        key = (victim_seed, rows.digest())
        if key not in self._controls:
            self._controls[key] = self._train(rows, None, victim_seed, rows, where=where)
        return self._controls[key]

    def _train(
        self, rows: Rows, poisons: FeatureCache | None, victim_seed: int, control: Rows, *, where: str
    ) -> Victim:
        draws = draw(
            self._protocol,
            victim_generator(victim_seed, control),
            rows=len(rows),
            features=self._network.feature_width,
            classes=len(self._classes),
        )
        features = remembered(rows, self.clean, poisons, draws)
        labels = torch.from_numpy(positions(rows.label, self._classes))
        head = train_head(features, labels, draws, self._protocol, device=self._device)
        correct = int((self._predicted(head, self._test_features, where) == self._test_labels).sum())
        return Victim(head, correct)

    def _labels(self, victim: Victim, features: Tensor, *, where: str) -> tuple[int, ...]:
        return tuple(self._classes[i] for i in self._predicted(victim.head, features, where).tolist())

    @torch.no_grad()
    def _predicted(self, head: nn.Linear, features: Tensor, where: str) -> Tensor:
        """Positions int64 [N] of the largest logits, all of them finite: argmax calls a NaN the first class."""
        smaller = "Choose a smaller learning rate, for instance `@learning_rate=0.001`"
        if not bool(torch.isfinite(features).all()):
            raise ViolationError(f"{where}: the extractor gives features that are not finite", "Use another extractor")
        if not all(bool(torch.isfinite(tensor).all()) for tensor in (head.weight, head.bias)):
            raise ViolationError(
                f"{where} diverged, its head is not finite at learning rate {self._protocol.learning_rate}", smaller
            )
        logits: Tensor = head(features)
        if not bool(torch.isfinite(logits).all()):
            raise ViolationError(
                f"{where} diverged, its logits are not finite at learning rate {self._protocol.learning_rate}", smaller
            )
        return logits.argmax(1)

    def _cache(self, images: Images) -> FeatureCache:
        on_device = torch.tensor(images, device=self._device)
        return FeatureCache(self._network, on_device, pad=self._protocol.pad, flip=self._protocol.flip)


def positions(labels: NDArray[np.int64], classes: tuple[int, ...]) -> NDArray[np.int64]:
    """Where each label stands among the classes.

    Args:
        labels: int64 [N].
        classes: the labels a victim knows, in the order of its head's outputs.

    Raises:
        UsageError: a label is none of the classes.
    """
    place = {label: i for i, label in enumerate(classes)}
    strange = set(np.unique(labels).tolist()) - set(place)
    if strange:
        raise UsageError(f"the training set has label {min(strange)}, the victim knows {list(classes)}")
    values, inverse = np.unique(labels, return_inverse=True)
    return np.array([place[int(value)] for value in values], dtype=np.int64)[inverse]
