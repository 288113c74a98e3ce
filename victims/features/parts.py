"""A large array computed part by part, so that a kill loses one part: the next process finds the finished ones.

    FOLDER/KEY.part-00007.safetensors     the eighth part of the array in FOLDER/KEY.safetensors

Parts are removed when the file is complete, so the disk holds up to twice the array.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError, MissingError, ViolationError
from poisonsets.manifests.files import array_file, store
from poisonsets.manifests.files.safetensors_header import ArraySpec
from poisonsets.manifests.workers import Progress

ARRAY: Final = "features"
Compute: TypeAlias = Callable[[int, int], NDArray[Any]]
"""Gives the rows of an array from a first one up to, not including, a last one."""


def write(
    path: Path, compute: Compute, record: dict[str, Any], spec: ArraySpec, *, rows: int, progress: Progress
) -> None:
    """Write a file of one array, `ARRAY`, reusing finished parts; the caller holds a lock.

    A part that is damaged or of another array is computed anew. Half-written files are removed.

    Args:
        path: the file; its stem names the array and begins the names of its parts.
        compute: called for the missing parts, in order; equal rows must always give equal bytes.
        record: of the file and, so that none is taken for another array's, of its parts.
        spec: of the array.
        rows: of a part; the last may have fewer.
        progress: told the parts that are done, and all.

    Raises:
        MissingError: the folder or the disk refuses it.
        ViolationError: as `compute`, which would refuse again: no part is left then.
    """
    starts = range(0, spec.shape[0], rows)

    def parts() -> Iterator[NDArray[Any]]:
        progress(0, len(starts))
        for number, start in enumerate(starts):
            stop = min(start + rows, spec.shape[0])
            part = path.with_name(f"{path.stem}.part-{number:05d}{path.suffix}")
            own = spec._replace(shape=(stop - start, *spec.shape[1:]))
            yield _part(part, partial(compute, start, stop), record | {"rows": [start, stop]}, own)
            progress(number + 1, len(starts))

    store.sweep(path.parent, f"{path.name}.*")
    try:
        array_file.write_parts(path, record, ARRAY, spec, parts())
    except ViolationError:
        forget(path)
        raise
    forget(path)


def left(path: Path) -> Iterator[Path]:
    """The parts of an array on the disk, finished or not."""
    return path.parent.glob(f"{path.stem}.part-*")


def forget(path: Path) -> None:
    """Remove all parts of an array, under its lock; MissingError where the disk or its permissions refuse."""
    for part in list(left(path)):
        store.remove_file(part)


def _part(path: Path, compute: Callable[[], NDArray[Any]], record: dict[str, Any], spec: ArraySpec) -> NDArray[Any]:
    try:
        return array_file.read_one(path, record, ARRAY, spec, remedy="")
    except (DamagedError, MissingError):
        found = compute()
        array_file.write(path, record, {ARRAY: found})
        return found
