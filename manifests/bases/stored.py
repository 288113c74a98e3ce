"""One cached base in one file: complete or absent, and checked against its digests whenever it is read.

The file is HDF5 with contiguous uncompressed `train/images`, `train/labels`, `test/images` and `test/labels`,
and `record`, the canonical JSON of a `StoredRecord` as bytes (an attribute could not hold the names of many
classes).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import h5py
import numpy as np
from pydantic import ValidationError

from poisonsets.manifests import canonical
from poisonsets.manifests.bases import safe_hdf5
from poisonsets.manifests.bases.dataset import Base, Split, pixel_digest
from poisonsets.manifests.bases.registry import Spec
from poisonsets.manifests.bases.regular import reason
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.limits import MANIFEST_BYTES
from poisonsets.manifests.model import BasePin, Label, Strict, Text

LOCK_SECONDS: Final = 5.0
SPLITS: Final[tuple[Literal["train", "test"], ...]] = ("train", "test")


class StoredRecord(Strict):
    """What a cache file says of its base, beside the pixels.

    Attributes:
        pin: what a manifest records of the base.
        pretrain_classes, mirror: as in `Base`.
        spec: the spec it was made from, its path resolved.
        options: the options, as typed.
    """

    format: Literal["poisonset-base/1"] = "poisonset-base/1"
    pin: BasePin
    pretrain_classes: tuple[Label, ...]
    mirror: bool
    spec: Text
    options: Text


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock beside a cache file while it is built.

    Raises:
        MissingError: another process holds it for more than `LOCK_SECONDS`, or the folder cannot be written.
    """
    lock = path.with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MissingError(f"{lock}: cannot be written ({reason(error)})", "Choose another cache folder") from error
    try:
        _acquire(descriptor, lock)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, lock: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline:
                raise MissingError(
                    f"{lock}: another process is building this base", "Wait until it is done, then try again"
                ) from error
            time.sleep(0.05)
        else:
            return


def write(base: Base, spec: Spec, path: Path) -> None:
    """Write a base to `path`: under another name first, then flushed to disk and renamed.

    Raises:
        MissingError: the folder or the disk refuses it.
    """
    record = StoredRecord(
        pin=base.pin(),
        pretrain_classes=base.pretrain_classes,
        mirror=base.mirror,
        spec=_text(spec.text),
        options=spec.options,
    )
    partial = path.with_suffix(".partial")
    try:
        with h5py.File(partial, "w") as file:
            for name in SPLITS:
                split = base.split(name)
                file[f"{name}/images"] = split.images
                file[f"{name}/labels"] = split.labels.astype("<i8")
            file["record"] = np.frombuffer(canonical.dumps(record.model_dump(mode="json")), np.uint8)
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    except (OSError, RuntimeError) as error:
        raise MissingError(
            f"{path}: cannot be written ({reason(error)})", "Check disk space and permissions"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(value: str) -> str:
    """A path may hold bytes that are no UTF-8; the record may not."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_record(path: Path) -> StoredRecord:
    """The record of a cache file, without its pixels.

    Raises:
        DamagedError: the file is not a cached base.
    """
    with safe_hdf5.opened(path) as file:
        return _record(file, path)


def _record(file: h5py.File, path: Path) -> StoredRecord:
    data = safe_hdf5.read(file, "record", rank=1, limit=MANIFEST_BYTES).astype(np.uint8).tobytes()
    canonical.loads(data, f"{path}: record")
    try:
        return StoredRecord.model_validate_json(data)
    except ValidationError as error:
        raise DamagedError(f"{path}: record: not what this version writes ({error.error_count()} fields)") from error


def read(path: Path) -> Base:
    """The base in a cache file, the digest of each split computed anew.

    Raises:
        DamagedError: the file is not a cached base, or a digest differs from the recorded one.
    """
    with safe_hdf5.opened(path) as file:
        record = _record(file, path)
        train, test = (_split(file, name, record, path) for name in SPLITS)
    return Base(
        name=record.pin.name,
        classes=record.pin.classes,
        train=train,
        test=test,
        poison_classes=record.pin.poison_classes,
        pretrain_classes=record.pretrain_classes,
        mirror=record.mirror,
    )


def _split(file: h5py.File, name: Literal["train", "test"], record: StoredRecord, path: Path) -> Split:
    pin = record.pin.splits.get(name)
    labels = safe_hdf5.read(file, f"{name}/labels", rank=1)
    images = safe_hdf5.read(file, f"{name}/images", rank=4)
    if pin is None or images.dtype != np.uint8 or labels.dtype != np.int64 or images.shape[3] != 3:
        raise DamagedError(f"{path}: {name}: not the arrays of a cached base")
    digest = pixel_digest(images, labels)
    if digest != pin.digest:
        raise DamagedError(f"{path}: the {name} split has digest {digest[:12]}, {pin.digest[:12]} was written")
    return Split(images, labels, digest)
