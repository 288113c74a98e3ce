"""A base dataset in memory: clean images and labels, pinned by digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from poisonsets.manifests.bases.inventory import Inventory
from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.files.pixels import Images, Labels, pixel_digest
from poisonsets.manifests.records.base import BasePin, SplitPin


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, 3] (RGB) and labels int64 [N], in the order of their source."""

    images: Images
    labels: Labels

    @cached_property
    def digest(self) -> str:
        """The digest of all pixels and labels (SPEC.md section 3), computed when it is first asked for."""
        return pixel_digest(self.images, self.labels)

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of every image."""
        return int(self.images.shape[1]), int(self.images.shape[2])

    def hold_out(self, indices: Sequence[int]) -> tuple[Split, Split]:
        """The images outside these indices and those at them, both in this split's order."""
        held = np.zeros(len(self.labels), dtype=np.bool_)
        held[indices] = True
        return Split(self.images[~held], self.labels[~held]), Split(self.images[held], self.labels[held])

    def pin(self) -> SplitPin:
        """What a manifest records of this split."""
        return SplitPin(digest=self.digest, images=len(self.labels), height=self.side[0], width=self.side[1])


@dataclass(frozen=True)
class Base:
    """A clean dataset that trials are drawn from and victims train on.

    Attributes:
        name: the base's name, without any local path.
        classes: a name for each label.
        train, test: the two splits; bases of poisons come from train, targets from test.
        victim_classes: the labels that trials and victims use.
        pretrain_classes: the labels a feature extractor may be trained on; for `digits` these are other ones.
        mirror: whether an image and its mirror image show the same thing (not so for digits).
        inventory: what its source was found to hold; None where it was not read from there just now.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    victim_classes: tuple[int, ...]
    pretrain_classes: tuple[int, ...]
    mirror: bool
    inventory: Inventory | None = field(default=None, compare=False, repr=False)

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
        """This base with the victim classes of a manifest. Raises MissingError where a split has another digest."""
        for name, wanted in pin.splits.items():
            found = self.split(name).digest
            if found != wanted.digest:
                raise MissingError(
                    f"the set pins the base {pin.name} ({name} split {wanted.digest[:12]}...), "
                    f"{self.name} has {found[:12]}...",
                    "Give the base it was made from",
                )
        return replace(self, victim_classes=pin.victim_classes)
