"""Open a poison set: the manifest is read strictly, every file is hashed before it is parsed.

for trial in open_set("FOLDER").trials:
    data = trial.training_set(base)      # data.images uint8 [N, H, W, 3], data.labels int64 [N]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import canonical_json, png, store
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.overlay.compose import Rule, TrainingRows, compose, composed_images
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.overlay.targets import TargetImage, source_class_targets, stacked, target_images
from poisonsets.manifests.records.fields import first_fault
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.records.unsupported import refuse_unsupported
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.size_limits import most_bytes
from poisonsets.manifests.sets.writer import MANIFEST
from poisonsets.manifests.spelling import format_numbers

TARGETS = "targets.tar"


@dataclass(frozen=True)
class TrainingSet:
    """A victim's training set.

    Attributes:
        images: uint8 [N, H, W, 3].
        labels: int64 [N].
        rows: where each row comes from.
    """

    images: Images
    labels: Labels
    rows: TrainingRows


class OpenTrial:
    """One trial of an open set."""

    def __init__(self, owner: PoisonSet, record: Trial) -> None:
        self._owner = owner
        self.record = record

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.record.trial

    def poisons(self) -> tuple[Images, Labels]:
        """uint8 [P, H, W, 3] and int64 [P], in slot order, as the shards have them.

        Raises:
            DamagedError: a shard is missing, changed or not canonical, or its samples are not this trial's slots.
        """
        samples = self.samples()
        wanted = np.arange(len(self.record.slots.labels))
        if not (samples.trials == self.number).all() or not np.array_equal(samples.slots, wanted):
            raise DamagedError(
                f"{self._owner.path}: trial {self.number}: its shards hold other slots than 0..{len(wanted) - 1}",
                "`poisonsets verify` lists them",
            )
        return samples.images, samples.labels

    def samples(self) -> shard.Samples:
        """Whatever the trial's shards hold, in shard order, keys unchecked.

        Raises:
            DamagedError: a shard is missing, changed, not canonical, or not full though others follow.
        """
        pin = self._owner.manifest.base.splits["train"]
        parts = [shard.decode(self._owner.read(path), pin.height, pin.width, path) for path in self.shards()]
        for path, part in list(zip(self.shards(), parts, strict=True))[:-1]:
            if len(part.labels) != limits.SLOTS_PER_SHARD:
                raise DamagedError(f"{self._owner.path}: {path} has {len(part.labels)} samples and is not the last")
        return shard.Samples(
            np.concatenate([part.trials for part in parts]),
            np.concatenate([part.slots for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.images for part in parts]),
        )

    def shards(self) -> list[str]:
        """The paths of the trial's shards, in order."""
        return self._owner.shards[self.number]

    def trigger(self) -> Trigger | None:
        """The trial's trigger with its picture and mask, or None."""
        return None if self.record.trigger is None else self._owner.trigger(self.record.trigger)

    def targets(self, base: Base) -> list[TargetImage]:
        """The targets, in the record's order.

        Raises:
            DamagedError: `targets.tar` is not what the manifest recorded.
            UsageError: one is not in the base, or the trigger does not fit.
        """
        return target_images(self.record.targets, base, self.trigger(), self._owner.target_file)

    def target_images(self, base: Base) -> Images:
        """uint8 [K, H, W, 3]: the targets as the victim meets them, with the trigger on where there is one."""
        return stacked(self.targets(base), base)

    def source_images(self, base: Base) -> Images:
        """uint8 [S, H, W, 3]: every test image of the trial's source classes, with the trigger on; none without any."""
        sources = source_class_targets(self.record, base)
        return stacked(target_images(sources, base, self.trigger(), self._owner.target_file), base)

    def training_set(self, base: Base, rule: Rule | None = None) -> TrainingSet:
        """What a victim trains on.

        Args:
            base: the set's base dataset.
            rule: a protocol's composition; None takes the trial's own.

        Raises:
            MissingError: it is another base.
            UsageError: the rule cannot be met.
        """
        base = base.as_pinned(self._owner.manifest.base)
        rows = compose(base.train.labels, self.record, rule or self.record.composition, base.victim_classes)
        images = composed_images(base.train.images, rows, self.poisons()[0])
        return TrainingSet(images, rows.label, rows)


class PoisonSet:
    """An open poison set.

    Attributes:
        path: its folder.
        manifest: the validated manifest.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._records = {record.path: record for record in manifest.files}
        self._triggers: dict[str, Trigger] = {}

    @cached_property
    def trials(self) -> tuple[OpenTrial, ...]:
        """Every trial, in ascending order."""
        return tuple(OpenTrial(self, record) for record in self.manifest.trials)

    @cached_property
    def shards(self) -> dict[int, list[str]]:
        """For each trial's number the paths of its shards, in order, as the manifest indexes them."""
        found: dict[int, list[str]] = {}
        for record in self.manifest.shards:
            for number in record.trials:
                found.setdefault(number, []).append(record.path)
        return found

    @cached_property
    def _by_number(self) -> dict[int, OpenTrial]:
        return {trial.number: trial for trial in self.trials}

    def trial(self, number: int) -> OpenTrial:
        """The trial of that number.

        Raises:
            UsageError: the set has no such trial.
        """
        found = self._by_number.get(number)
        if found is not None:
            return found
        numbers = format_numbers(trial.number for trial in self.trials)
        raise UsageError(f"{self.path}: trial {number} is not in the set (it has {numbers})")

    def read(self, path: str) -> bytes:
        """The bytes of a file of the set, hashed and compared before anyone parses them.

        Raises:
            DamagedError: the file is not listed, missing, not what the manifest recorded, or larger than it can be.
        """
        record = self._records.get(path)
        if record is None:
            raise DamagedError(f"{self.path}: {path} is not listed in the manifest")
        if "/" in path and (self.path / path).parent.is_symlink():
            raise DamagedError(f"{self.path}: {path} lies in a linked folder")
        if record.bytes > (most := most_bytes(self.manifest, path)):
            raise DamagedError(f"{self.path}: {path} is recorded with {record.bytes} bytes, it can have {most}")
        try:
            data = store.read_file(self.path / path, record.bytes)
        except MissingError as error:
            raise DamagedError(f"{self.path}: {path} is missing or cannot be read") from error
        if len(data) != record.bytes or hashlib.sha256(data).hexdigest() != record.sha256:
            raise DamagedError(f"{self.path}: {path} is not what the manifest recorded (sha256 differs)")
        return data

    def trigger(self, name: str) -> Trigger:
        """A declared trigger with its picture and mask; read once."""
        if name not in self._triggers:
            self._triggers[name] = Trigger.read(self.manifest.triggers[name], self.picture)
        return self._triggers[name]

    def target_file(self, key: str) -> Images:
        """uint8 [H, W, 3]: the sample of `targets.tar` with that key.

        Raises:
            DamagedError: the file is missing, changed or not canonical, or has no such sample.
        """
        image = self._target_images.get(key)
        if image is None:
            raise DamagedError(f"{self.path}: {TARGETS} has no sample {key}")
        return image

    @cached_property
    def target_samples(self) -> shard.Samples:
        """Whatever `targets.tar` holds, in its order; read once.

        Raises:
            DamagedError: the file is missing, changed or not canonical.
        """
        pin = self.manifest.base.splits["train"]
        return shard.decode(self.read(TARGETS), pin.height, pin.width, TARGETS)

    @cached_property
    def target_keys(self) -> frozenset[str]:
        """The keys of the samples of `targets.tar`; none where the set lists no such file."""
        return frozenset(self.target_samples.keys()) if TARGETS in self._records else frozenset()

    @cached_property
    def _target_images(self) -> dict[str, Images]:
        return dict(zip(self.target_samples.keys(), self.target_samples.images, strict=True))

    def picture(self, path: str) -> Images:
        """uint8 [h, w, 3]: a trigger's picture or mask, as the file has it.

        Raises:
            DamagedError: the file is missing, changed or not canonical.
        """
        data = self.read(path)
        height, width = png.size_of(data, path)
        return png.decode(data, height, width, path)


def open_set(path: Path | str) -> PoisonSet:
    """Open a poison set for reading.

    Raises:
        MissingError: there is no such folder.
        DamagedError: the manifest is missing, not canonical, not valid, or its checksum differs. Whether its claims
            are true is for `verify` to say.
        UnsupportedError: it is all that, and says something that this version cannot read.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder", "Give the folder of a poison set, with its manifest.json")
    return PoisonSet(folder, read_manifest(folder))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a set's folder, every claim about itself checked.

    Raises:
        DamagedError: as `open_set`.
    """
    where = f"{folder / MANIFEST}"
    try:
        data = store.read_file(folder / MANIFEST, limits.MANIFEST_BYTES)
    except MissingError as error:
        raise DamagedError(
            f"{where}: missing or unreadable, so this is not a finished poison set",
            "An unfinished one ends in .partial: `poisonsets craft ... --resume`",
        ) from error
    document: Any = canonical_json.loads(data, where)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DamagedError(f"{where}: not a valid poisonset/1 manifest ({first_fault(error)})") from error
    if manifest.model_dump(mode="json") != document:
        raise DamagedError(f"{where}: not canonical (a field with its default value is left out)")
    if canonical_json.checksum(document) != manifest.checksum:
        raise DamagedError(f"{where}: its checksum differs from its contents")
    refuse_unsupported(manifest, where)
    return manifest
