"""An HDF5 file with `train/images` and `train/labels`, and the same under `test` where it has one."""

from pathlib import Path

import h5py
import numpy as np

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.bases.kind import BaseKind, Contents, class_names
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import hdf5
from poisonsets.manifests.limits import CLASSES
from poisonsets.manifests.workers import Progress


def read_hdf5(source: Path, _resize: int | None, progress: Progress) -> Contents:
    """Images uint8 [N, H, W, 3] and integer labels [N] of each split.

    The attribute `classes` may hold a JSON list of class names. Progress is told in splits.
    """
    with hdf5.opened(source) as file:
        progress(0, 2)
        train = _split(file, "train")
        progress(1, 2)
        test = _split(file, "test") if hdf5.contains(file, "test") else None
        names = hdf5.read_json(file, "classes")
    return Contents(None if names is None else class_names(names, f"{source}: the attribute classes"), train, test)


def _has_test(source: Path) -> bool:
    with hdf5.opened(source) as file:
        return hdf5.contains(file, "test")


def _split(file: h5py.File, name: str) -> Split:
    labels = hdf5.read(file, f"{name}/labels", rank=1)
    images = hdf5.read(file, f"{name}/images", rank=4)
    if images.dtype != np.uint8 or images.shape[3] != 3:
        raise DamagedError(
            f"{file.filename}: {name}/images is {images.dtype} {images.shape}, wanted uint8 [N, H, W, 3]"
        )
    if labels.size and int(labels.max()) >= CLASSES:
        raise DamagedError(f"{file.filename}: {name}/labels holds {int(labels.max())}, at most {CLASSES - 1} is read")
    return Split(images, labels.astype(np.int64))


KINDS = (
    BaseKind(
        name="hdf5",
        summary="one file with train/images, train/labels and optionally test/images, test/labels",
        source="spec",
        read=read_hdf5,
        has_test=_has_test,
    ),
)
