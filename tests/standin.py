"""Stand-ins for an open poison set, made from the contract's types alone: what scoring needs, and no file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import Trial
from poisonsets.victims.results.job import JobIdentity


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


def job_identity(**changes: Any) -> JobIdentity:
    """Any job."""
    named = {"content_digest": "c" * 64, "trial": 0, "victim_classes": (2, 3), "protocol": "digits-transfer/convnet"}
    return JobIdentity(**named | {"protocol_version": 1, "extractor": "e" * 64, "victim_seed": 0} | changes)
