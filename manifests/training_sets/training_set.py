"""A whole training set of somebody else as scoring sees it: trials that all have the same slots, and no manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.overlay.targets import TargetImage, source_class_targets, stacked, target_images
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.training_sets.contents import TrainingSetContents


@dataclass(frozen=True)
class TrainingSetDescription:
    """What stands in for the manifest that such a set lacks.

    Attributes:
        base: the base it was opened against.
        content_digest: of the base's digests, the victims' classes, all images and labels in order, and what is asked;
            never that of a poison set.
        surrogates: None, for nobody declared any.
    """

    base: BasePin
    content_digest: str
    surrogates: tuple[SurrogateRecord, ...] | None = None


@dataclass(frozen=True, eq=False)
class TrainingSetTrial:
    """One target, or one choice of source classes, of a whole training set. All trials have the same slots.

    Attributes:
        record: bases of slots are unknown. Its `labels` and `constraint` are those that promise nothing.
        images: uint8 [P, H, W, 3], by slot.
        trigger: what is stamped on what is asked for.
    """

    record: Trial
    images: Images
    trigger: Trigger | None

    def poisons(self) -> tuple[Images, Labels]:
        """uint8 [P, H, W, 3] and int64 [P]: the images that are not the base's own, in the order of the shards."""
        return self.images, np.array(self.record.slots.labels, dtype=np.int64)

    def targets(self, base: Base) -> list[TargetImage]:
        """The target.

        Raises:
            UsageError: it is not in the base, or the trigger does not fit.
        """
        return target_images(self.record.targets, base, self.trigger, _no_file)

    def sources(self, base: Base) -> list[TargetImage]:
        """Every test image of the source classes, likewise."""
        return target_images(source_class_targets(self.record, base), base, self.trigger, _no_file)

    def target_images(self, base: Base) -> Images:
        """uint8 [1, H, W, 3]: the target, with the trigger on where there is one."""
        return stacked(self.targets(base), base)

    def source_images(self, base: Base) -> Images:
        """uint8 [S, H, W, 3]: every test image of the source classes, with the trigger on where there is one."""
        return stacked(self.sources(base), base)


def _no_file(key: str) -> Images:
    raise ValueError(f"{key}: such a training set has no targets.tar")


@dataclass(frozen=True, eq=False)
class OpenTrainingSet:
    """A whole training set; scoring takes it as it takes a poison set.

    Attributes:
        path: as the user named it.
        manifest: what stands in for one.
        trials: one a target, or one of the source classes, numbered from 0.
        contents: what its images are.
    """

    path: Path
    manifest: TrainingSetDescription
    trials: tuple[TrainingSetTrial, ...]
    contents: TrainingSetContents
