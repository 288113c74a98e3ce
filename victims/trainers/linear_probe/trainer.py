"""All victims of one protocol and one frozen extractor: what they share is computed once.

Shared are the folded extractor, the features of clean training images, those of the test images, and the
clean controls, which are one wherever their rows and victim seed are. Victims and controls of a block of jobs
are trained together, and of equal ones of a block only the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.manifests.records.trial import Trial
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.features.store import DTYPES, ENOUGH_TRIALS, FeaturePrecision, FeatureStore, shared_images
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.curves import Curves
from poisonsets.victims.trainers.linear_probe.draws import draw, victim_generator
from poisonsets.victims.trainers.linear_probe.head_specs import Asked, HeadKey, HeadOrder
from poisonsets.victims.trainers.linear_probe.heads import BLOCK, HeadPlan, head_plan, train_heads
from poisonsets.victims.trainers.predictions import Question, Verdict, Victim, predicted
from poisonsets.victims.trainers.recorder import HeadWatch, sight_of
from poisonsets.victims.trainers.training_rows import training_rows
from poisonsets.victims.training.labels import images_of, positions

_Found = TypeVar("_Found")


class FrozenVictims:
    """Trains and questions victims that share a protocol and an extractor.

    Args:
        protocol: every training setting.
        extractor: the network whose head is replaced; left as it is.
        base: the victims know its `victim_classes`.
        device: where to compute.
        features: what remembered features of training images are rounded to. Those of test images and targets
            are float32 either way.
        watched: give the curves of victims and controls with their verdicts. A control is trained in every block
            then, by whose targets it is watched.

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
        watched: bool = False,
    ) -> None:
        self._protocol, self._base, self._device, self._watched = protocol, base, device, watched
        self._classes, self._dtype = base.victim_classes, DTYPES[features]
        self._network = folded(extractor).to(device)
        self.clean = self._cache(base.train.images, self._dtype)
        images, labels = images_of(base.test, self._classes)
        self._test_features = self._cache(images, torch.float32).plain()
        self._test_labels = torch.from_numpy(labels).to(device)
        self._controls: dict[HeadKey, Victim | ViolationError] = {}

    def share(
        self, store: FeatureStore, jobs: Sequence[tuple[Trial, int]], progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Take the features of clean images from a file, and make it where that costs fewer forward passes.

        That is from `ENOUGH_TRIALS` trials on, where those that draw the same views count once: with in-place
        composition all trials of a victim seed do.

        Args:
            store: where the file is.
            jobs: trial and victim seed of each job to come.
            progress: as for `FeatureStore.adopt`.

        Raises:
            DamagedError, MissingError, ViolationError: as `FeatureStore.adopt`.
        """
        draws: set[tuple[int, str]] = set()
        for trial, seed in jobs:
            rows, control = self._composed(trial, seed)
            draws.add((seed, (rows if control is None else control).digest()))
        ids, build = shared_images(self._protocol, self._base), len(draws) >= ENOUGH_TRIALS
        store.adopt(self.clean, ids, build=build, progress=progress)

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
        asked = self._asked(questions)
        heads: dict[HeadKey, HeadOrder] = {}
        for order in [one.victim for one in asked] + [one.control for one in asked if one.control is not None]:
            if self._watched or order.key not in self._controls:
                heads.setdefault(order.key, order)
        watch = self._watch(asked, list(heads)) if self._watched else None
        poisons = {one.pixels: one.poisons for one in questions}
        cache = self._cache(np.concatenate([*poisons.values()]), self._dtype)
        found = self._trained(list(heads.values()), cache, watch)
        self._controls |= {key: found[key] for key, order in heads.items() if order.pixels is None}
        curves = iter(watch.curves() if watch else ())
        return [
            _attempt(partial(self._verdict, one, found[one.victim.key], tuple(islice(curves, len(one.orders)))))
            for one in asked
        ]

    def control(self, rows: TrainingRows, victim_seed: int, *, where: str = "the clean control") -> Victim:
        """The victim of clean rows, trained once for each victim seed and remembered.

        Args:
            rows: without poisons.
            victim_seed: which of several victims.
            where: how a refusal names it.

        Raises:
            ViolationError: it diverged.
        """
        order = HeadOrder(rows, 0, victim_seed, rows, None, where)
        if order.key not in self._controls:
            self._controls |= self._trained([order], None, None)
        return _certain(self._controls[order.key])

    def _composed(self, trial: Trial, victim_seed: int) -> tuple[TrainingRows, TrainingRows | None]:
        """The rows of a victim and of its clean control."""
        return training_rows(self._protocol, trial, self._base.train.labels, self._classes, victim_seed)

    def _asked(self, questions: Sequence[Question]) -> list[Asked]:
        """The questions with the heads that answer them. Poisons of equal pixels stand once in the poison cache."""
        counts = {one.pixels: len(one.poisons) for one in questions}
        first_slot = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
        features = self._cache(np.concatenate([self._protocol.asked(one.targets) for one in questions]), torch.float32)
        parts = torch.split_with_sizes(features.plain(), [len(one.targets) for one in questions])
        asked = []
        for one, part in zip(questions, parts, strict=True):
            seed, (rows, control) = one.victim_seed, self._composed(one.trial, one.victim_seed)
            where = f"trial {one.trial.trial}, protocol {self._protocol.id}, victim seed {seed}"
            drawn_by = rows if control is None else control
            victim = HeadOrder(rows, first_slot[one.pixels], seed, drawn_by, one.pixels, f"{where}: the victim")
            clean = (
                None if control is None else HeadOrder(control, 0, seed, control, None, f"{where}: the clean control")
            )
            # A copy, so that it begins at an aligned address whatever stands before it.
            asked.append(Asked(one.trial, victim, clean, part.clone()))
        return asked

    def _watch(self, asked: Sequence[Asked], heads: Sequence[HeadKey]) -> HeadWatch:
        """What watches the heads of each question by its targets, the features of which come first."""
        number, sights = {key: i for i, key in enumerate(heads)}, []
        for one in asked:
            sight = sight_of(one.trial, one.features[: len(one.trial.targets)], self._classes)
            sights += [(number[order.key], sight) for order in one.orders]
        return HeadWatch(sights)

    def _trained(
        self, orders: Sequence[HeadOrder], poisons: FeatureCache | None, watch: HeadWatch | None
    ) -> dict[HeadKey, Victim | ViolationError]:
        """Train heads together; what each is, or why it is nothing."""
        plans = [self._plan(order) for order in orders]
        try:
            heads = train_heads(plans, self.clean, poisons, self._protocol, watch)
        except ViolationError as error:
            raise ViolationError(f"{orders[0].where}: {error.message}", error.remedy) from error
        return {
            order.key: _attempt(partial(self._examined, head, order.where))
            for head, order in zip(heads, orders, strict=True)
        }

    def _plan(self, order: HeadOrder) -> HeadPlan:
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

    def _verdict(self, asked: Asked, victim: Victim | ViolationError, curves: tuple[Curves, ...]) -> Verdict:
        order, control, poisoned = asked.victim, asked.control, _certain(victim)
        clean = None if control is None else _certain(self._controls[control.key])
        return Verdict(
            poisoned=self._labels(poisoned, asked.features, order.where),
            control=None if clean is None or control is None else self._labels(clean, asked.features, control.where),
            correct=poisoned.correct,
            control_correct=None if clean is None else clean.correct,
            images=len(self._test_labels),
            training_images=len(order.rows),
            poisons=int((order.rows.slot >= 0).sum()),
            control_rows=None if control is None else control.rows.digest(),
            curves=curves,
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
