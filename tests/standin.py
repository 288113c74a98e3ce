"""Stand-ins for an open poison set, made from the contract's types alone: what scoring needs, and no file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import Trial


@dataclass(frozen=True)
class StandInTrial:
    """A trial in memory; its targets are images of splits."""

    record: Trial
    images: Images

    def poisons(self) -> tuple[Images, Labels]:
        return self.images, np.array(self.record.slots.labels, dtype=np.int64)

    def target_images(self, base: Base) -> Images:
        return np.stack([base.split(t.split).images[t.index] for t in self.record.targets])

    def source_images(self, base: Base) -> Images:
        return base.test.images[np.isin(base.test.labels, self.record.source_classes)]


@dataclass(frozen=True)
class StandInSet:
    """A set in memory."""

    manifest: Manifest
    trials: tuple[StandInTrial, ...] = field(default=())
