"""Victims of one protocol and one frozen extractor: a linear head each, with shared work done once.

They share the folded extractor, the features of clean training and test images, and the clean controls of equal rows
and victim seed. Victims and controls of a block of jobs are trained together, equal ones once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.workers import Progress, silent
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.features.store import DTYPES, ENOUGH_TRIALS, FeatureDtype, FeatureStore, shared_images
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.precision import Precision
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.curves import Curves
from poisonsets.victims.trainers.linear_probe.draws import draw
from poisonsets.victims.trainers.linear_probe.heads import BLOCK, HeadPlan, head_plan, train_heads
from poisonsets.victims.trainers.predictions import Evaluation, Predictions, predicted
from poisonsets.victims.trainers.recorder import HeadRecorder, target_inputs
from poisonsets.victims.trainers.training_rows import training_rows
from poisonsets.victims.trainers.victim_pair import JobInput, VictimKey, VictimPair, VictimSpec
from poisonsets.victims.training.labels import images_of, positions


@dataclass(frozen=True)
class _TrainedHead:
    head: nn.Linear
    correct: int  # test images


class LinearProbeTrainer:
    """Trains and evaluates victims that share a protocol and an extractor.

    Args:
        protocol: every training setting.
        extractor: the network whose head is replaced; not changed.
        base: the victims know its `victim_classes`.
        device: where to compute.
        features: what remembered features of training images are rounded to; those of other images are float32.
        precision: of the passes that give features. Heads are trained and tested in float32.
        curves: record those of victims and controls, for which a control is trained in every block.
        halvings: how often what is computed at a time, heads and forward passes, was halved for lack of memory.

    Attributes:
        clean: the features of the training split.
    """

    block: ClassVar[int] = BLOCK
    """Jobs to do together; a kill loses at most so many."""

    def __init__(
        self,
        protocol: Protocol,
        extractor: Classifier,
        base: Base,
        device: torch.device,
        *,
        features: FeatureDtype = "fp16",
        precision: Precision = "fp32",
        curves: bool = False,
        halvings: int = 0,
    ) -> None:
        self._protocol, self._base, self._device, self._curves = protocol, base, device, curves
        self._precision, self._halvings = precision, halvings
        self._classes, self._dtype = base.victim_classes, DTYPES[features]
        self._network = folded(extractor).to(device)
        self.clean = self._cache(base.train.images, self._dtype)
        images, labels = images_of(base.test, self._classes)
        self._test_features = self._cache(images, torch.float32).plain()
        self._test_labels = torch.from_numpy(labels).to(device)
        self._controls: dict[VictimKey, _TrainedHead | ViolationError] = {}

    def share(self, store: FeatureStore, jobs: Iterable[tuple[Trial, int]], progress: Progress = silent) -> None:
        """Take the features of clean images from a file, making it where that costs fewer forward passes.

        That is from `ENOUGH_TRIALS` trials on. Those that draw the same views count once, as all of a victim seed do
        under in-place composition.

        Args:
            store: where the file is.
            jobs: trial and victim seed of each job to come.
            progress: as for `FeatureStore.adopt`.

        Raises: as `FeatureStore.adopt`.
        """
        draws: set[tuple[int, str]] = set()
        for trial, seed in jobs:
            rows, control = training_rows(self._protocol, trial, self._base, seed)
            draws.add((seed, (rows if control is None else control).digest()))
        ids, build = shared_images(self._protocol, self._base), len(draws) >= ENOUGH_TRIALS
        store.adopt(self.clean, ids, build=build, progress=progress)

    def predictions(self, jobs: Sequence[JobInput], progress: Progress = silent) -> list[Predictions | ViolationError]:
        """Train a block's victims and their clean controls, and evaluate both.

        Args:
            jobs: of a block; predictions do not depend on which stand together.
            progress: told the epochs done and all epochs.

        Returns:
            For each job its predictions, or the error of a victim or control that diverged.

        Raises:
            UsageError: a composition rule cannot be met.
            ViolationError: as `FeatureCache.computed`; it names the block's first trial.
        """
        pairs = [VictimPair.of(job, self._protocol, self._base) for job in jobs]
        features = self._features([pair.images for pair in pairs])
        controls = [pair.control for pair in pairs if pair.control is not None]
        specs: dict[VictimKey, VictimSpec] = {}
        for spec in [pair.victim for pair in pairs] + controls:
            if self._curves or spec.key not in self._controls:
                specs.setdefault(spec.key, spec)
        recorder = self._recorder(pairs, features, list(specs)) if self._curves else None
        trained = self._controls | self._trained(list(specs.values()), recorder, progress)
        self._controls = {key: head for key, head in trained.items() if key.poisons is None}
        curves = iter(recorder.curves() if recorder else ())
        return [
            pair.predictions(
                partial(self._evaluation, trained, part, {spec.key: next(curves, None) for spec in pair.specs}),
                len(self._test_labels),
            )
            for pair, part in zip(pairs, features, strict=True)
        ]

    def _features(self, images: Sequence[Images]) -> list[Tensor]:
        """The features float32 [N, D] of each job's images."""
        features = self._cache(np.concatenate(images), torch.float32).plain()
        # Copies, so that each begins at an aligned address whatever stands before it.
        return [part.clone() for part in torch.split_with_sizes(features, [len(one) for one in images])]

    def _recorder(
        self, pairs: Sequence[VictimPair], features: Sequence[Tensor], heads: Sequence[VictimKey]
    ) -> HeadRecorder:
        """Of the heads of each job, by its targets, whose features come first."""
        number, recorded = {key: i for i, key in enumerate(heads)}, []
        for pair, part in zip(pairs, features, strict=True):
            targets = target_inputs(pair.trial, part[: len(pair.trial.targets)], self._classes)
            recorded += [(number[spec.key], targets) for spec in pair.specs]
        return HeadRecorder(recorded)

    def _trained(
        self, specs: Sequence[VictimSpec], recorder: HeadRecorder | None, progress: Progress
    ) -> dict[VictimKey, _TrainedHead | ViolationError]:
        """Train heads together; each one, or the error that it diverged."""
        # Poisons of equal pixels stand once in the cache.
        poisons = {spec.poison_digest: spec.poisons for spec in specs if spec.poisons is not None}
        first_slot = dict(zip(poisons, np.cumsum([0, *map(len, poisons.values())]).tolist(), strict=False))
        plans = [self._plan(spec, first_slot.get(spec.poison_digest, 0)) for spec in specs]
        cache = self._cache(np.concatenate([*poisons.values()]), self._dtype)
        try:
            together = max(1, BLOCK >> self._halvings)
            heads = train_heads(
                plans, self.clean, cache, self._protocol, recorder, together=together, progress=progress
            )
        except ViolationError as error:
            raise ViolationError(f"{specs[0].where}: {error.message}", error.remedy) from error
        return {spec.key: self._tested(head, spec.where) for head, spec in zip(heads, specs, strict=True)}

    def _plan(self, spec: VictimSpec, first_slot: int) -> HeadPlan:
        draws = draw(
            self._protocol,
            spec.generator(),
            rows=len(spec.rows),
            features=self._network.feature_width,
            classes=len(self._classes),
        )
        labels = torch.from_numpy(positions(spec.rows.label, self._classes))
        return head_plan(spec.rows, labels, draws, views=self.clean.views, first_slot=first_slot)

    def _tested(self, head: nn.Linear, where: str) -> _TrainedHead | ViolationError:
        try:
            found = predicted(head, self._test_features, self._protocol, where)
        except ViolationError as error:
            return error
        return _TrainedHead(head, int((found == self._test_labels).sum()))

    def _evaluation(
        self,
        trained: dict[VictimKey, _TrainedHead | ViolationError],
        features: Tensor,
        curves: dict[VictimKey, Curves | None],
        spec: VictimSpec,
    ) -> Evaluation:
        found = trained[spec.key]
        if isinstance(found, ViolationError):
            raise found
        places = predicted(found.head, features, self._protocol, spec.where).tolist()
        labels = tuple(self._classes[i] for i in places)
        return Evaluation(labels, found.correct, curves[spec.key], found.head.state_dict())

    def _cache(self, images: Images, dtype: torch.dtype) -> FeatureCache:
        on_device = torch.tensor(images, device=self._device)
        return FeatureCache(
            self._network,
            on_device,
            pad=self._protocol.pad,
            flip=self._protocol.flip,
            dtype=dtype,
            precision=self._precision,
            halvings=self._halvings,
        )
