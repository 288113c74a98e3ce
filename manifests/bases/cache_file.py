"""A cached base as one file: complete or absent, and checked against its digests whenever it is read.

The file is HDF5 with contiguous uncompressed `train/images`, `train/labels`, `test/images` and `test/labels`, and
`record`, the canonical JSON of a `CacheRecord` as bytes (an attribute could not hold the names of many classes).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import h5py
import numpy as np
from pydantic import ValidationError

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.bases.spec import Spec, add_command
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import canonical_json, hdf5, store
from poisonsets.manifests.limits import MANIFEST_BYTES
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.fields import Label, SplitName, Strict, Text

LOCK_SECONDS: Final = 5.0
EARLIER: Final = "poisonset-base/1"  # options in a field of their own, other names in the pin
SPLITS: Final[tuple[SplitName, ...]] = ("train", "test")


class CacheRecord(Strict):
    """What a cache file records of its base beside the pixels; `spec` is the `Spec.text` that it was made from."""

    format: Literal["poisonset-base/2"] = "poisonset-base/2"
    pin: BasePin
    pretrain_classes: tuple[Label, ...]
    mirror: bool
    spec: Text


class EarlierVersionError(MissingError):
    """A cache file of an earlier version, which is not read; `spec` is what it was made from."""

    def __init__(self, path: Path, spec: str) -> None:
        super().__init__(f"{path}: made by an earlier version", f"Add it again: `{add_command(spec)}`")
        self.spec = spec


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock beside a cache file while it is made or removed, waiting up to `LOCK_SECONDS`."""
    store.make_folder(path.parent)
    with store.locked(path.with_suffix(".lock"), patience=LOCK_SECONDS):
        yield


def write_base(base: Base, spec: Spec, path: Path) -> None:
    """Write a base to `path`, whole or not at all; the caller holds the lock. Raises as `store.replacing`."""
    record = CacheRecord(
        pin=base.pin(),
        pretrain_classes=base.pretrain_classes,
        mirror=base.mirror,
        # A path may have bytes that are not UTF-8; the record may not.
        spec=spec.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
    )
    store.sweep(path.parent, f"{path.name}.*")
    with store.replacing(path) as temporary:
        try:
            with h5py.File(temporary.name, "w") as file:
                for name in SPLITS:
                    split = base.split(name)
                    file[f"{name}/images"] = split.images
                    file[f"{name}/labels"] = split.labels.astype("<i8")
                file["record"] = np.frombuffer(canonical_json.dumps(record.model_dump(mode="json")), np.uint8)
        except RuntimeError as error:  # what h5py raises when the disk is full as it closes
            raise OSError(str(error)) from error


def read_record(path: Path) -> CacheRecord:
    """The record of a cache file, without its pixels.

    Raises:
        MissingError: there is no such file, or it is an earlier version's.
        DamagedError: the file is not a cached base.
    """
    with hdf5.opened(path) as file:
        return _record(file, path)


def read_base(path: Path) -> Base:
    """The base in a cache file, the digest of each split computed anew.

    Raises:
        MissingError: as `read_record`.
        DamagedError: likewise, or a digest differs from the recorded one.
    """
    with hdf5.opened(path) as file:
        record = _record(file, path)
        train, test = (_split(file, name, record.pin.splits[name].digest, path) for name in SPLITS)
    return Base(
        name=record.pin.name,
        classes=record.pin.classes,
        train=train,
        test=test,
        victim_classes=record.pin.victim_classes,
        pretrain_classes=record.pretrain_classes,
        mirror=record.mirror,
    )


def _record(file: h5py.File, path: Path) -> CacheRecord:
    data = hdf5.read(file, "record", rank=1, limit=MANIFEST_BYTES).astype(np.uint8).tobytes()
    document = canonical_json.loads(data, f"{path}: record")
    if type(document) is dict and document.get("format") == EARLIER:
        options = re.findall("--([a-z-]+) ([0-9/]+)", str(document.get("options")))
        listed = ",".join(sorted("=".join(option) for option in options))
        raise EarlierVersionError(path, f"{document.get('spec')}@{listed}".removesuffix("@"))
    try:
        return CacheRecord.model_validate_json(data)
    except ValidationError as error:
        raise DamagedError(f"{path}: record: not what this version writes ({error.error_count()} fields)") from error


def _split(file: h5py.File, name: SplitName, digest: str, path: Path) -> Split:
    labels = hdf5.read(file, f"{name}/labels", rank=1)
    images = hdf5.read(file, f"{name}/images", rank=4)
    if images.dtype != np.uint8 or labels.dtype != np.int64 or images.shape[3] != 3:
        raise DamagedError(f"{path}: {name}: not the arrays of a cached base")
    split = Split(images, labels)
    if split.digest != digest:
        raise DamagedError(f"{path}: the {name} split has digest {split.digest[:12]}, {digest[:12]} was written")
    return split
