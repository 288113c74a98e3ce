"""What scoring needs of a poison set, from any reader."""

from collections.abc import Sequence
from typing import Protocol

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.manifests.records.trial import Trial


class ScorableManifest(Protocol):
    """What scoring needs of the whole set; `manifests.records.manifest.Manifest` has it."""

    @property
    def base(self) -> BasePin:
        """The base its victims train on."""

    @property
    def content_digest(self) -> str:
        """Its identity; rows of one digest are rows of one set."""

    @property
    def surrogates(self) -> Sequence[SurrogateRecord] | None:
        """The networks its maker knew; None where nobody declared any or none."""


class ScorableTrial(Protocol):
    """What scoring needs of a trial."""

    @property
    def record(self) -> Trial:
        """Its record in the manifest."""

    def poisons(self) -> tuple[Images, Labels]:
        """uint8 [P, H, W, 3] and int64 [P], in slot order."""

    def target_images(self, base: Base) -> Images:
        """uint8 [K, H, W, 3] in the record's order, with any trigger on."""

    def source_images(self, base: Base) -> Images:
        """uint8 [S, H, W, 3]: the test images of its source classes, if any, with the trigger on."""


class ScorableSet(Protocol):
    """A poison set, or a training set without a manifest: `PoisonSet` or `OpenTrainingSet`."""

    @property
    def manifest(self) -> ScorableManifest:
        """The validated manifest, or what stands in for one."""

    @property
    def trials(self) -> Sequence[ScorableTrial]:
        """Every trial."""
