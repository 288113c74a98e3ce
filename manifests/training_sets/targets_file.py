"""The targets file of a training set without a manifest: `poisonset-targets/1`, read strictly.

It names single targets, each a trial of its own, or source classes, which are one trial; and the trigger that is
stamped on these images. docs/third-party.md shows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.files.images import IMAGE_FILE_BYTES, decode
from poisonsets.manifests.files.pixels import Images, image_digest
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.fields import Index, Label, SplitName, Strict, first_fault
from poisonsets.manifests.records.triggers import TriggerRecord
from poisonsets.manifests.records.unsupported import refuse_trigger

FORMAT: Final = "poisonset-targets/1"
_REMEDY: Final = "docs/third-party.md shows one"


class TargetEntry(Strict):
    """An image of the base, its true label, and the adversarial label that it is meant to get."""

    split: SplitName
    index: Index
    label: Label
    adversarial_label: Label


class TargetsFile(Strict):
    """A targets file: either `targets`, or `source_classes` with their `adversarial_label`.

    Raises:
        ValueError: pydantic's ValidationError if both or neither is given, a target or class repeats, or a label is to
            become itself.
    """

    format: Literal["poisonset-targets/1"]
    targets: Annotated[tuple[TargetEntry, ...], Field(max_length=limits.TRIALS)] = ()
    source_classes: tuple[Label, ...] = ()
    adversarial_label: Label | None = None
    trigger: TriggerRecord | None = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> TargetsFile:
        if bool(self.targets) == bool(self.source_classes):
            raise ValueError("wanted either targets or source_classes")
        if bool(self.source_classes) == (self.adversarial_label is None):
            raise ValueError("adversarial_label goes with source_classes; each of the targets has its own")
        if len({(one.split, one.index, one.adversarial_label) for one in self.targets}) < len(self.targets):
            raise ValueError("a target repeats with the same adversarial label")
        if len(set(self.source_classes)) < len(self.source_classes):
            raise ValueError("a source class repeats")
        if self.adversarial_label in self.source_classes:
            raise ValueError(f"class {self.adversarial_label} is to be taken for itself")
        for number, one in enumerate(self.targets):
            if one.label == one.adversarial_label:
                raise ValueError(f"target {number} is of its adversarial label, {one.label}")
        return self


@dataclass(frozen=True)
class TargetSpec:
    """What every victim is scored on: targets or source classes, and the record's trigger with its pictures."""

    record: TargetsFile
    trigger: Trigger | None = None

    def with_trigger(self, trigger: Trigger) -> TargetSpec:
        """The same with a trigger.

        Raises:
            UsageError: it already has one.
        """
        if self.trigger is not None:
            raise UsageError("the targets file has a trigger of its own", "Leave one of the two out")
        return TargetSpec(self.record.model_copy(update={"trigger": trigger.record}), trigger)

    def identity(self) -> dict[str, Any]:
        """All of it as a JSON document, with the trigger's pictures by digest instead of path."""
        document = self.record.model_dump(mode="json", exclude={"trigger": {"image", "mask"}})
        pictures = [] if self.trigger is None else list(self.trigger.pictures().values())
        return {**document, "pictures": [image_digest(picture) for picture in pictures]}


def source_targets(source_classes: Sequence[int], adversarial_label: int) -> TargetSpec:
    """All test images of these classes as targets, which `TargetSpec.with_trigger` stamps.

    Raises:
        UsageError: a class repeats, is to be taken for itself, or is no label.
    """
    try:
        record = TargetsFile(format=FORMAT, source_classes=tuple(source_classes), adversarial_label=adversarial_label)
    except ValidationError as error:
        message = f"source classes {list(source_classes)} as {adversarial_label}: {first_fault(error)}"
        raise UsageError(message) from error
    return TargetSpec(record)


def read_targets(path: Path | str) -> TargetSpec:
    """Read a targets file and its trigger's pictures, whose paths are relative to it (8-bit PNG or JPEG files).

    Raises:
        MissingError: the file or a picture is missing.
        DamagedError: it is no `poisonset-targets/1` file, or a picture cannot be read.
        UnsupportedError: this version cannot stamp its trigger.
    """
    file = Path(path).expanduser()
    data = store.read_file(file, limits.SETUP_BYTES, follow=True)
    canonical_json.parse(data, str(file), _REMEDY)  # pydantic's own parser would take the second of two equal keys
    try:
        record = TargetsFile.model_validate_json(data)
    except ValidationError as error:
        raise DamagedError(f"{file}: not a {FORMAT} file ({first_fault(error)})", _REMEDY) from error
    if record.trigger is None:
        return TargetSpec(record)
    refuse_trigger(record.trigger, f"{file}: trigger")
    return TargetSpec(record, Trigger.read(record.trigger, lambda path: _picture(file.parent, path)))


def _picture(folder: Path, path: str) -> Images:
    picture = folder / path
    if "/" in path and picture.parent.is_symlink():
        raise DamagedError(f"{picture}: lies in a linked folder; only regular files are read")
    return decode(store.read_file(picture, IMAGE_FILE_BYTES), str(picture), None)
