"""`perturbation`: differences from the base's images, in one `.npy` or `.npz` file.

An `.npz` names its arrays: `delta` (or `perturbation`, `noise`), optionally `bases` (or `ids`, `indices`, `idx`) and
`labels`. A `.npy` has differences only: one row per training image, or per base of the `--setup`, in its order.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import npy
from poisonsets.manifests.interop.format import ForeignTrial, Format
from poisonsets.manifests.interop.image_arrays import begins, channels_last, ends_with_name, indices
from poisonsets.manifests.verification.findings import Finding

DELTAS: Final = ("delta", "perturbation", "noise")
BASES: Final = ("bases", "ids", "indices", "idx")


def sniff_perturbation(path: Path) -> bool:
    """Whether it is an `.npy` file, or an `.npz` file that names a difference."""
    if path.suffix == ".npz" and begins(path, b"PK\x03\x04"):
        return ends_with_name(path, tuple(f"{name}.npy" for name in DELTAS))
    return begins(path, npy.MAGIC)


def read_perturbation(path: Path, base: Base) -> ForeignTrial:
    """The trial in a file.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is no array of differences.
    """
    zipped = begins(path, b"PK\x03\x04")
    found = npy.read_zip(path) if zipped else {DELTAS[0]: npy.read(path)}
    strange = sorted(set(found) - {*DELTAS, *BASES, "labels"})
    if strange:
        raise DamagedError(f"an unknown array {strange[0][:60]}", f"Known are {', '.join(DELTAS + BASES)}")
    delta, ids = _one(found, DELTAS), _one(found, BASES)
    if delta is None:
        raise DamagedError(f"no array of differences ({', '.join(DELTAS)})")
    pixels = channels_last(delta, "the differences")
    bases = None if ids is None else indices(ids, "the bases")
    hints: tuple[Finding, ...] = ()
    if bases is None and len(pixels) == len(base.train.labels):
        moved = np.flatnonzero(pixels.any(axis=(1, 2, 3)))
        hints = (Finding("H702", "one row per training image; those that are not all zero are taken as the poisons"),)
        pixels, bases = pixels[moved], tuple(int(index) for index in moved)
    labels = found.get("labels")
    stated = (None,) * len(pixels) if labels is None else indices(labels, "labels")
    if len(stated) != len(pixels):
        raise DamagedError(f"{len(pixels)} differences, {len(stated)} labels")
    return ForeignTrial(pixels=pixels, labels=stated, bases=bases, adds=True, hints=hints)


def _one(found: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> NDArray[Any] | None:
    present = [name for name in names if name in found]
    if len(present) > 1:
        raise DamagedError(f"arrays {present[0]} and {present[1]} mean the same")
    return found[present[0]] if present else None


SUMMARY: Final = "differences from the base in one .npy or .npz file (delta, bases, labels)"
FORMAT: Final = Format("perturbation", SUMMARY, sniff_perturbation, read_perturbation)
