"""What scoring needs of a poison set; any reader that has it will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from poisonsets.manifests.bases.dataset import Base, Images, Labels
from poisonsets.manifests.model import Manifest, Trial


class ScorableTrial(Protocol):
    """What scoring needs of a trial."""

    @property
    def record(self) -> Trial:
        """The manifest's record of it."""

    def poisons(self) -> tuple[Images, Labels]:
        """uint8 [P, H, W, 3] and int64 [P], in slot order."""

    def target_images(self, base: Base) -> Images:
        """uint8 [K, H, W, 3] in the record's order, with the trigger on where there is one."""

    def source_images(self, base: Base) -> Images:
        """uint8 [S, H, W, 3]: the test images of its source classes, with the trigger on; none where it has none."""


class ScorableSet(Protocol):
    """What scoring needs of a poison set; `manifests.reader.PoisonSet` is one."""

    @property
    def manifest(self) -> Manifest:
        """The validated manifest."""

    @property
    def trials(self) -> Sequence[ScorableTrial]:
        """Every trial."""
