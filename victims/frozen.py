"""All victims of one protocol and one frozen extractor: what they share is computed once.

Shared are the folded extractor, the features of clean training images, those of the test images, and the
clean controls, which are one wherever their rows and victim seed are. Victims and controls of a block of jobs
are trained together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from poisonsets.manifests.bases.dataset import Base, Images
from poisonsets.manifests.compose import Rows
from poisonsets.manifests.errors import UsageError, ViolationError
from poisonsets.manifests.model import Trial
from poisonsets.victims.composed import training_rows
from poisonsets.victims.feature_store import DTYPES, ENOUGH_TRIALS, FeaturePrecision, FeatureStore, shared_images
from poisonsets.victims.features import FeatureCache
from poisonsets.victims.heads import BLOCK, HeadPlan, head_plan, train_heads
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.training import images_of
from poisonsets.victims.transfer import draw, victim_generator
from poisonsets.victims.verdict import Question, Verdict, Victim, predicted

_Key: TypeAlias = tuple[int, str]
"""Victim seed and digest of the control's rows: what a victim draws by, and what names a control."""

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class _Order:
    """A head to be trained, and how a refusal names it."""

    rows: Rows
    first_slot: int
    victim_seed: int
    drawn_by: Rows
    where: str

    @property
    def key(self) -> _Key:
        return self.victim_seed, self.drawn_by.digest()


class FrozenVictims:
    """Trains and questions victims that share a protocol and an extractor.

    Args:
        protocol: every training setting.
        extractor: the network whose head is replaced; left as it is.
        base: the victims know its `poison_classes`.
        device: where to compute.
        features: what remembered features of training images are rounded to. Those of test images and targets
            are float32 either way.

    Attributes:
        clean: the features of the training split.
    """

    block: ClassVar[int] = BLOCK
    """Questions that are best answered together; a kill loses at most so many."""

    def __init__(
        self,
        protocol: Protocol,
        extractor: Classifier,
        base: Base,
        device: torch.device,
        *,
        features: FeaturePrecision = "fp16",
    ) -> None:
        self._protocol, self._base, self._device = protocol, base, device
        self._classes, self._dtype = base.poison_classes, DTYPES[features]
        self._network = folded(extractor).to(device)
        self.clean = self._cache(base.train.images, self._dtype)
        images, labels = images_of(base.test, self._classes)
        self._test_features = self._cache(images, torch.float32).plain()
        self._test_labels = torch.from_numpy(labels).to(device)
        self._controls: dict[_Key, Victim | ViolationError] = {}

    def share(self, store: FeatureStore, jobs: Sequence[tuple[Trial, int]]) -> None:
        """Take the features of clean images from a file, and make it where that costs fewer forward passes.

        That is from `ENOUGH_TRIALS` trials on, where those that draw the same views count once: with in-place
        composition all trials of a victim seed do.

        Args:
            store: where the file is.
            jobs: trial and victim seed of each job to come.

        Raises:
            DamagedError, MissingError, ViolationError: as `FeatureStore.adopt`.
        """
        draws: set[_Key] = set()
        for trial, seed in jobs:
            rows, control = self._composed(trial, seed)
            draws.add((seed, (rows if control is None else control).digest()))
        store.adopt(self.clean, shared_images(self._protocol, self._base), build=len(draws) >= ENOUGH_TRIALS)

    def verdicts(self, questions: Sequence[Question]) -> list[Verdict | ViolationError]:
        """Train a block's victims and their clean controls, and ask both for the targets.

        Args:
            questions: one a job. The answers do not depend on which stand together.

        Returns:
            For each a verdict, or why there is none: its victim or control diverged, so that predictions
            would mean nothing.

        Raises:
            UsageError: a composition rule cannot be met.
            ViolationError: as `FeatureCache.computed`; it names the block's first trial.
        """
        poisons = {one.trial.trial: one.poisons for one in questions}
        counts = [len(images) for images in poisons.values()]
        first = dict(zip(poisons, np.cumsum([0, *counts]).tolist(), strict=False))
        victims, controls = [], []
        for one in questions:
            rows, control = self._composed(one.trial, one.victim_seed)
            where = f"trial {one.trial.trial}, protocol {self._protocol.id}, victim seed {one.victim_seed}"
            drawn_by = rows if control is None else control
            named = f"{where}: the victim"
            victims.append(_Order(rows, first[one.trial.trial], one.victim_seed, drawn_by, named))
            named = f"{where}: the clean control"
            controls.append(None if control is None else _Order(control, 0, one.victim_seed, control, named))
        cache = self._cache(np.concatenate([*poisons.values()]), self._dtype)
        found = self._train_all(victims, controls, cache)
        targets = [self._protocol.asked(one.targets) for one in questions]
        features = self._cache(np.concatenate(targets), torch.float32).plain()
        # Copies, so that each begins at an aligned address whatever stands before it.
        shares = [part.clone() for part in torch.split_with_sizes(features, [len(one.targets) for one in questions])]
        return [
            _attempt(partial(self._verdict, victim, order, control, share))
            for victim, order, control, share in zip(found, victims, controls, shares, strict=True)
        ]

    def control(self, rows: Rows, victim_seed: int, *, where: str = "the clean control") -> Victim:
        """The victim of clean rows, trained once for each victim seed and remembered.

        Args:
            rows: without poisons.
            victim_seed: which of several victims.
            where: how a refusal names it.

        Raises:
            ViolationError: it diverged.
        """
        order = _Order(rows, 0, victim_seed, rows, where)
        self._train_all([], [order], None)
        return _certain(self._controls[order.key])

    def _composed(self, trial: Trial, victim_seed: int) -> tuple[Rows, Rows | None]:
        """The rows of a victim and of its clean control."""
        return training_rows(self._protocol, trial, self._base.train.labels, self._classes, victim_seed)

    def _train_all(
        self, victims: Sequence[_Order], controls: Sequence[_Order | None], poisons: FeatureCache | None
    ) -> list[Victim | ViolationError]:
        """Train victims and those controls that are new, together; the victims, the controls being remembered."""
        fresh: dict[_Key, _Order] = {}
        for order in controls:
            if order is not None and order.key not in self._controls:
                fresh.setdefault(order.key, order)
        orders = [*victims, *fresh.values()]
        try:
            heads = train_heads([self._plan(order) for order in orders], self.clean, poisons, self._protocol)
        except ViolationError as error:
            raise ViolationError(f"{orders[0].where}: {error.message}", error.remedy) from error
        found = [
            _attempt(partial(self._examined, head, order.where)) for head, order in zip(heads, orders, strict=True)
        ]
        self._controls.update(zip(fresh, found[len(victims) :], strict=True))
        return found[: len(victims)]

    def _plan(self, order: _Order) -> HeadPlan:
        draws = draw(
            self._protocol,
            victim_generator(order.victim_seed, order.drawn_by),
            rows=len(order.rows),
            features=self._network.feature_width,
            classes=len(self._classes),
        )
        labels = torch.from_numpy(positions(order.rows.label, self._classes))
        return head_plan(order.rows, labels, draws, views=self.clean.views, first_slot=order.first_slot)

    def _examined(self, head: nn.Linear, where: str) -> Victim:
        correct = int((predicted(head, self._test_features, self._protocol, where) == self._test_labels).sum())
        return Victim(head, correct)

    def _verdict(
        self, victim: Victim | ViolationError, order: _Order, control: _Order | None, features: Tensor
    ) -> Verdict:
        poisoned = _certain(victim)
        clean = None if control is None else _certain(self._controls[control.key])
        return Verdict(
            poisoned=self._labels(poisoned, features, order.where),
            control=None if clean is None or control is None else self._labels(clean, features, control.where),
            correct=poisoned.correct,
            control_correct=None if clean is None else clean.correct,
            images=len(self._test_labels),
            training_images=len(order.rows),
            poisons=int((order.rows.slot >= 0).sum()),
            control_rows=None if control is None else control.rows.digest(),
        )

    def _labels(self, victim: Victim, features: Tensor, where: str) -> tuple[int, ...]:
        return tuple(self._classes[i] for i in predicted(victim.head, features, self._protocol, where).tolist())

    def _cache(self, images: Images, dtype: torch.dtype) -> FeatureCache:
        on_device = torch.tensor(images, device=self._device)
        return FeatureCache(self._network, on_device, pad=self._protocol.pad, flip=self._protocol.flip, dtype=dtype)


def _attempt(work: Callable[[], _Found]) -> _Found | ViolationError:
    """What the work gives, or its refusal, so that one job of a block cannot stop the others."""
    try:
        return work()
    except ViolationError as error:
        return error


def _certain(victim: Victim | ViolationError) -> Victim:
    if isinstance(victim, ViolationError):
        raise victim
    return victim


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
