"""The base dataset as a manifest pins it: digests of pixels and labels, sizes, classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from poisonsets.manifests import limits
from poisonsets.manifests.records.fields import Label, Name, Sha256, SplitName, Strict, Text


class SplitPin(Strict):
    """A split of the base, pinned by the digest of its decoded pixels and labels (SPEC.md section 3)."""

    digest: Sha256
    images: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1, le=limits.IMAGE_SIDE)]
    width: Annotated[int, Field(ge=1, le=limits.IMAGE_SIDE)]


class BasePin(Strict):
    """The base dataset that poisons are made from and victims train on."""

    name: Name
    classes: Annotated[tuple[Text, ...], Field(min_length=1, max_length=limits.CLASSES)]
    victim_classes: Annotated[tuple[Label, ...], Field(min_length=1, max_length=limits.CLASSES)]
    splits: dict[SplitName, SplitPin]

    @model_validator(mode="after")
    def _consistent(self) -> BasePin:
        if len(set(self.victim_classes)) != len(self.victim_classes) or max(self.victim_classes) >= len(self.classes):
            raise ValueError(f"victim_classes does not name distinct ones of the {len(self.classes)} classes")
        if set(self.splits) != {"train", "test"}:
            raise ValueError("splits does not pin exactly train and test")
        if len({(split.height, split.width) for split in self.splits.values()}) != 1:
            raise ValueError("the splits differ in image size")
        return self
