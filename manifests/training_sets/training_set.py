"""A third-party training set as scoring sees it: trials that all share the same slots, and no manifest."""

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
    """What stands in for the missing manifest.

    Attributes:
        base: the base it was opened against.
        content_digest: covers the base's digests, the victims' classes, all images and labels in order, and the
            targets; never equal to that of a poison set.
        surrogates: None, since none are declared.
    """

    base: BasePin
    content_digest: str
    surrogates: tuple[SurrogateRecord, ...] | None = None


@dataclass(frozen=True, eq=False)
class TrainingSetTrial:
    """One target, or one choice of source classes, of a whole training set. All trials have the same slots.

    Attributes:
        record: with unknown bases, and the `labels` and `constraint` that promise nothing.
        images: uint8 [P, H, W, 3], by slot.
        trigger: stamped on targets and source images.
    """

    record: Trial
    images: Images
    trigger: Trigger | None

    def poisons(self) -> tuple[Images, Labels]:
        """The images that are not the base's own and their labels, uint8 [P, H, W, 3] and int64 [P], in shard order."""
        return self.images, np.array(self.record.slots.labels, dtype=np.int64)

    def targets(self, base: Base) -> list[TargetImage]:
        """The target; raises UsageError if it is not in the base, or the trigger does not fit."""
        return target_images(self.record.targets, base, self.trigger, _no_file)

    def sources(self, base: Base) -> list[TargetImage]:
        """Every test image of the source classes; raises as `targets`."""
        return target_images(source_class_targets(self.record, base), base, self.trigger, _no_file)

    def target_images(self, base: Base) -> Images:
        """The stamped target, uint8 [1, H, W, 3]."""
        return stacked(self.targets(base), base)

    def source_images(self, base: Base) -> Images:
        """The stamped test images of the source classes, uint8 [S, H, W, 3]."""
        return stacked(self.sources(base), base)


def _no_file(key: str) -> Images:
    raise ValueError(f"{key}: such a training set has no targets.tar")


@dataclass(frozen=True, eq=False)
class OpenTrainingSet:
    """A whole training set, which scoring takes like a poison set, with one trial per target, numbered from 0."""

    path: Path
    manifest: TrainingSetDescription
    trials: tuple[TrainingSetTrial, ...]
    contents: TrainingSetContents
