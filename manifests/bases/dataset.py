"""A base dataset in memory: clean images and labels, pinned by digest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.files.pixels import Images, Labels, pixel_digest
from poisonsets.manifests.records.base import BasePin, SplitPin


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, 3] (RGB), labels int64 [N], and the digest of both."""

    images: Images
    labels: Labels
    digest: str

    @classmethod
    def of(cls, images: Images, labels: Labels) -> Split:
        """The split of these arrays, its digest computed."""
        return cls(images, labels, pixel_digest(images, labels))

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of every image."""
        return int(self.images.shape[1]), int(self.images.shape[2])

    def pin(self) -> SplitPin:
        """What a manifest records of this split."""
        return SplitPin(digest=self.digest, images=len(self.labels), height=self.side[0], width=self.side[1])


@dataclass(frozen=True)
class Base:
    """A clean dataset that trials are drawn from and victims train on.

    Attributes:
        name: the base's name without any local path.
        classes: a name for each label.
        train, test: the two splits; targets come from test, bases of poisons from train.
        victim_classes: the labels trials and victims use.
        pretrain_classes: the labels a feature extractor may be trained on (disjoint from the above for `digits`).
        mirror: whether an image and its mirror image show the same thing (not so for digits).
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    victim_classes: tuple[int, ...]
    pretrain_classes: tuple[int, ...]
    mirror: bool

    def split(self, name: str) -> Split:
        """The split called `train` or `test`."""
        return {"train": self.train, "test": self.test}[name]

    def pin(self) -> BasePin:
        """What a manifest records of this base."""
        return BasePin(
            name=self.name,
            classes=self.classes,
            victim_classes=self.victim_classes,
            splits={"train": self.train.pin(), "test": self.test.pin()},
        )

    def as_pinned(self, pin: BasePin) -> Base:
        """This base as a manifest sees it: the same images and labels, its victims' classes those of the pin.

        Args:
            pin: what the manifest records. Names pin nothing, so only the digests are compared.

        Raises:
            MissingError: a split has another digest.
        """
        for name, wanted in pin.splits.items():
            found = self.split(name).digest
            if found != wanted.digest:
                raise MissingError(
                    f"the set pins the base {pin.name} ({name} split {wanted.digest[:12]}...), "
                    f"{self.name} has {found[:12]}...",
                    "Give the base it was made from",
                )
        return replace(self, victim_classes=pin.victim_classes)
