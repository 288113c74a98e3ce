"""`numpy`: arrays in `.npy` files: ours, one file per field, or Witches' Brew's, the whole poisoned training set.

Ours: `poisons.npy` [P, H, W, 3], `labels.npy`, `bases.npy` (-1: unknown), `targets.npy`, `target_labels.npy`,
`target_indices.npy` (into the test split, -1: none), `adversarial_label.npy`; or one `.npz` of these. Witches' Brew:
`poisoned_training_data.npy` and `poisoned_training_labels.npy`, one row per training image, without ids and targets.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import npy
from poisonsets.manifests.files.junk import is_junk
from poisonsets.manifests.interop import units
from poisonsets.manifests.interop.format import PLAIN_FIELDS, ForeignTrial, Format
from poisonsets.manifests.interop.image_arrays import NO_IMAGES, begins, ends_with_name, indices
from poisonsets.manifests.interop.named_arrays import trial_arrays, trial_from_arrays
from poisonsets.manifests.sets.reader import OpenTrial
from poisonsets.manifests.verification.findings import Finding

POISONS: Final = "poisons.npy"
WHOLE: Final = ("poisoned_training_data.npy", "poisoned_training_labels.npy")
ROWS: Final = 1000  # read at a time


def sniff_numpy(path: Path) -> bool:
    """Whether it is a folder of either kind, or an `.npz` file that names its poisons."""
    if path.suffix == ".npz" and begins(path, b"PK\x03\x04"):
        return ends_with_name(path, (POISONS,))
    return (path / POISONS).is_file() or (path / WHOLE[0]).is_file()


def read_numpy(path: Path, base: Base) -> ForeignTrial:
    """The trial in a folder or `.npz` file.

    Raises:
        MissingError: a file is missing.
        DamagedError: a file is no array, or an unexpected one.
    """
    if path.is_dir() and (path / WHOLE[0]).exists():
        return _whole(path, base)
    if not path.is_dir():
        return trial_from_arrays(npy.read_zip(path), path.name)
    files = sorted(file for file in path.glob("*.npy") if not is_junk(file.name))
    return trial_from_arrays({file.stem: npy.read(file) for file in files}, "the folder")


def _whole(path: Path, base: Base) -> ForeignTrial:
    """The rows of a training set, in the base's order, whose pixels or label are not the base's."""
    images, labels = npy.NpyRows(path / WHOLE[0], 4), npy.NpyRows(path / WHOLE[1], 1)
    if len(images) != len(base.train.labels) or len(labels) != len(images):
        raise DamagedError(
            f"{WHOLE[0]}: {len(images)} rows, {len(labels)} labels; the base has {len(base.train.labels)} images"
        )
    if images.header.shape[1:] != base.train.images.shape[1:]:
        raise DamagedError(f"{WHOLE[0]}: rows of shape {list(images.header.shape[1:])}")
    peak = 0.0
    pixels: list[NDArray[Any]] = []
    found: list[int] = []
    stated: list[int] = []
    parts = zip(range(0, len(images), ROWS), images.parts(ROWS), labels.parts(ROWS), strict=True)
    for first, some, named in parts:
        row_labels = np.array(indices(named, WHOLE[1]), dtype=np.int64)
        peak = max(peak, _highest(some))
        shown, _ = units.levels_in(some, units.LEVELS, None)
        clean, true = base.train.images[first : first + ROWS], base.train.labels[first : first + ROWS]
        for row in np.flatnonzero((shown != clean).any(axis=(1, 2, 3)) | (row_labels != true)):
            pixels.append(shown[row].copy())
            found.append(first + int(row))
            stated.append(int(row_labels[row]))
    if peak < units.LEAST_WHITE:
        raise DamagedError(f"{WHOLE[0]}: values up to {peak:.4g}, this format holds levels 0 to 255")
    text = f"{len(images)} rows, of which {len(found)} are not the base's own: they are taken as the poisons"
    return ForeignTrial(
        pixels=np.stack(pixels) if pixels else NO_IMAGES,
        labels=tuple(stated),
        bases=tuple(found),
        hints=(Finding("H702", text),),
    )


def _highest(values: NDArray[Any]) -> float:
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not (low >= -0.5 and high <= 255.5):  # also where they are no numbers
        raise DamagedError(f"{WHOLE[0]}: values from {low:.4g} to {high:.4g}, this format holds levels 0 to 255")
    return high


def write_numpy(trial: OpenTrial, base: Base) -> Iterator[tuple[str, bytes]]:
    """One `.npy` file per field; targets are stamped."""
    for name, array in trial_arrays(trial, base).items():
        yield f"{name}.npy", npy.encode(array)


SUMMARY: Final = "poisons.npy, labels.npy, bases.npy ... (or one .npz); or Witches' Brew's poisoned_training_data.npy"
FORMAT: Final = Format("numpy", SUMMARY, sniff_numpy, read_numpy, write_numpy, PLAIN_FIELDS)
