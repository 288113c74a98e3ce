"""A large array computed part by part, so that a kill loses one part: whoever goes on finds those that are finished.

    FOLDER/KEY.part-00007.h5     an array of `manifests.arrays`, the eighth part of FOLDER/KEY.h5

Parts lie beside the file they are of and are removed when it is there, so the disk holds up to twice the array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError, MissingError, ViolationError
from poisonsets.manifests.files import array_file, store
from poisonsets.manifests.workers import Progress

Compute: TypeAlias = Callable[[int, int], NDArray[Any]]
"""Gives the rows of an array from a first one up to, not including, a last one."""


def write(
    path: Path,
    compute: Compute,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    record: dict[str, Any],
    *,
    rows: int,
    progress: Progress,
) -> None:
    """Write the array that `arrays.write` would, taking over finished parts; the caller holds a lock.

    A part that is damaged, or of another array, is computed anew.

    Args:
        path: the file; its stem names the array and begins the names of its parts.
        compute: asked for the parts that are missing, in order; equal rows must give equal bytes whenever asked.
        shape, dtype, record: as for `arrays.write`. Parts have the record too, so none is taken for another array's.
        rows: of a part; the last may have fewer.
        progress: told the parts that are done, and all.

    Raises:
        MissingError: the folder or the disk refuses it.
        ViolationError: as `compute`, which would refuse again: no part is left then.
    """
    starts = range(0, shape[0], rows)

    def parts() -> Iterator[NDArray[Any]]:
        progress(0, len(starts))
        for number, start in enumerate(starts):
            stop = min(start + rows, shape[0])
            named = record | {"rows": [start, stop]}
            part = path.with_name(f"{path.stem}.part-{number:05d}.h5")
            yield _part(part, partial(compute, start, stop), (stop - start, shape[1]), dtype, named)
            progress(number + 1, len(starts))

    try:
        array_file.write(path, parts(), shape, dtype, record)
    except ViolationError:
        forget(path)
        raise
    forget(path)


def left(path: Path) -> Iterator[Path]:
    """The parts of an array, finished or not, that are on the disk."""
    return path.parent.glob(f"{path.stem}.part-*")


def forget(path: Path) -> None:
    """Remove all parts of an array; the caller holds its lock.

    Raises:
        MissingError: the disk or its permissions refuse.
    """
    for part in list(left(path)):
        store.remove_file(part)


def _part(
    path: Path,
    compute: Callable[[], NDArray[Any]],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    record: dict[str, Any],
) -> NDArray[Any]:
    try:
        return array_file.read(path, shape, dtype, record, remedy="")
    except (DamagedError, MissingError):
        found = compute()
        array_file.write(path, [found], shape, dtype, record)
        return found
