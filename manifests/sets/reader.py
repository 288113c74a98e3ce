"""Open a poison set: the manifest is read strictly, and every file is hashed before it is parsed.

for trial in open_set("FOLDER").trials:
    data = trial.training_set(base)      # data.images uint8 [N, H, W, 3], data.labels int64 [N]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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
from poisonsets.manifests.sets.writer import CARD, MANIFEST
from poisonsets.manifests.spelling import command, format_numbers

TARGETS = "targets.tar"


@dataclass(frozen=True)
class TrainingSet:
    """A victim's training set: images uint8 [N, H, W, 3], labels int64 [N], and where each row comes from."""

    images: Images
    labels: Labels
    rows: TrainingRows


class OpenTrial:
    """A trial of an open set."""

    def __init__(self, owner: PoisonSet, record: Trial) -> None:
        self._owner = owner
        self.record = record

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.record.trial

    def poisons(self) -> tuple[Images, Labels]:
        """The poisons uint8 [P, H, W, 3] and their labels int64 [P], in slot order.

        Raises DamagedError as `samples`, or where these are not the trial's slots.
        """
        samples = self.samples()
        slots = np.arange(len(self.record.slots.labels))
        if not (samples.trials == self.number).all() or not np.array_equal(samples.slots, slots):
            raise DamagedError(
                f"{self._owner.path}: trial {self.number}: its shards hold other slots than 0..{len(slots) - 1}",
                f"{command('verify', self._owner.path)} lists them",
            )
        return samples.images, samples.labels

    def samples(self) -> shard.Samples:
        """Whatever the trial's shards hold, in their order, keys unchecked.

        Raises DamagedError as `decode_shard`, or where a shard is neither full nor the last.
        """
        parts = [self._owner.decode_shard(path) for path in self.shards()]
        for path, part in zip(self.shards()[:-1], parts, strict=False):
            if len(part.labels) != limits.SLOTS_PER_SHARD:
                raise DamagedError(f"{self._owner.path}: {path} has {len(part.labels)} samples and is not the last")
        return shard.Samples(*map(np.concatenate, zip(*parts, strict=True)))

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
        """The targets uint8 [K, H, W, 3] as victims meet them, with any trigger on. Raises as `targets`."""
        return stacked(self.targets(base), base)

    def source_images(self, base: Base) -> Images:
        """Every test image of the trial's source classes, uint8 [S, H, W, 3], likewise; S is 0 without such classes.

        Raises UsageError where the trigger does not fit.
        """
        sources = source_class_targets(self.record, base)
        return stacked(target_images(sources, base, self.trigger(), self._owner.target_file), base)

    def training_set(self, base: Base, rule: Rule | None = None) -> TrainingSet:
        """What a victim trains on; `rule` is a protocol's composition, None takes the trial's own.

        Raises:
            MissingError: it is another base.
            UsageError: the rule cannot be met.
            DamagedError: as `poisons`.
        """
        base = base.as_pinned(self._owner.manifest.base)
        rows = compose(base.train.labels, self.record, rule or self.record.composition, base.victim_classes)
        images = composed_images(base.train.images, rows, self.poisons()[0])
        return TrainingSet(images, rows.label, rows)


class PoisonSet:
    """An open poison set: its folder and its validated manifest."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._files = {record.path: record for record in manifest.files}
        self._triggers: dict[str, Trigger] = {}

    @cached_property
    def trials(self) -> tuple[OpenTrial, ...]:
        """Every trial, in ascending order."""
        return tuple(self._trials.values())

    @cached_property
    def _trials(self) -> Mapping[int, OpenTrial]:
        return {record.trial: OpenTrial(self, record) for record in self.manifest.trials}

    def trial(self, number: int) -> OpenTrial:
        """The trial of that number. Raises UsageError where the set has none."""
        if number not in self._trials:
            raise UsageError(f"{self.path}: trial {number} is not in the set (it has {format_numbers(self._trials)})")
        return self._trials[number]

    @cached_property
    def shards(self) -> dict[int, list[str]]:
        """The paths of each trial's shards, in order, by the trial's number."""
        found: dict[int, list[str]] = {}
        for record in self.manifest.shards:
            for number in record.trials:
                found.setdefault(number, []).append(record.path)
        return found

    def read(self, path: str) -> bytes:
        """The bytes of a listed file, compared with its recorded hash before anyone parses them.

        Raises:
            DamagedError: the file is not listed, missing, not what the manifest recorded, or larger than it may be.
        """
        record = self._files.get(path)
        if record is None:
            raise DamagedError(f"{self.path}: {path} is not listed in the manifest")
        if "/" in path and (self.path / path).parent.is_symlink():
            raise DamagedError(f"{self.path}: {path} lies in a linked folder")
        if record.bytes > (most := _most_bytes(self.manifest, path)):
            raise DamagedError(f"{self.path}: {path} is recorded with {record.bytes} bytes, it can have {most}")
        try:
            data = store.read_file(self.path / path, record.bytes)
        except MissingError as error:
            raise DamagedError(f"{self.path}: {path} is missing or cannot be read") from error
        if len(data) != record.bytes or hashlib.sha256(data).hexdigest() != record.sha256:
            raise DamagedError(f"{self.path}: {path} is not what the manifest recorded (sha256 differs)")
        return data

    def decode_shard(self, path: str) -> shard.Samples:
        """The samples of a listed shard. Raises DamagedError as `read`, or where it is not canonical."""
        pin = self.manifest.base.splits["train"]
        return shard.decode(self.read(path), pin.height, pin.width, path)

    def picture(self, path: str) -> Images:
        """A trigger's picture or mask as its file has it, uint8 [h, w, 3]. Raises as `decode_shard`."""
        data = self.read(path)
        height, width = png.size_of(data, path)
        return png.decode(data, height, width, path)

    def trigger(self, name: str) -> Trigger:
        """A declared trigger with its picture and mask; read once."""
        if name not in self._triggers:
            self._triggers[name] = Trigger.read(self.manifest.triggers[name], self.picture)
        return self._triggers[name]

    @cached_property
    def target_samples(self) -> shard.Samples:
        """Whatever `targets.tar` holds, in its order; read once. Raises as `decode_shard`."""
        return self.decode_shard(TARGETS)

    @cached_property
    def _target_images(self) -> dict[str, Images]:
        return dict(zip(self.target_samples.keys(), self.target_samples.images, strict=True))

    @property
    def target_keys(self) -> Set[str]:
        """The keys of the samples of `targets.tar`; none where the set lists no such file."""
        return self._target_images.keys() if TARGETS in self._files else frozenset()

    def target_file(self, key: str) -> Images:
        """The sample of `targets.tar` with that key, uint8 [H, W, 3].

        Raises DamagedError as `decode_shard`, or where there is none.
        """
        if key not in self._target_images:
            raise DamagedError(f"{self.path}: {TARGETS} has no sample {key}")
        return self._target_images[key]


def open_set(path: Path | str) -> PoisonSet:
    """Open a poison set for reading. Whether its claims are true is for `verify` to say.

    Raises:
        MissingError: there is no such folder.
        DamagedError: the manifest is missing, not canonical, not valid, or its checksum differs.
        UnsupportedError: the manifest says something that this version cannot read.
    """
    folder = Path(path)
    if not folder.is_dir():
        fault = "not a folder" if folder.exists() else "no such folder"
        raise MissingError(f"{folder}: {fault}", "Give the folder of a poison set, with its manifest.json")
    return PoisonSet(folder, read_manifest(folder))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a set's folder. Raises as `open_set`."""
    where = f"{folder / MANIFEST}"
    try:
        data = store.read_file(folder / MANIFEST, limits.MANIFEST_BYTES)
    except MissingError as error:
        raise DamagedError(
            f"{where}: missing or unreadable, so this is not a finished poison set",
            "An unfinished one ends in .partial: repeat its command with --resume",
        ) from error
    document = canonical_json.loads(data, where)
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


def _most_bytes(manifest: Manifest, path: str) -> int:
    """The most bytes that a listed file can have, by what it is (SPEC.md section 9)."""
    if path == CARD:
        return limits.CARD_BYTES
    if path in manifest.trigger_pixels:
        return png.encoded_size(limits.IMAGE_SIDE, limits.IMAGE_SIDE)
    if path.endswith(".tar"):
        pin = manifest.base.splits["train"]
        return shard.encoded_size(limits.SLOTS_PER_SHARD, pin.height, pin.width)
    return limits.FILE_BYTES
