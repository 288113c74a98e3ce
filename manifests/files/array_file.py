"""One large array of integers and what it is, in one HDF5 file: complete or absent, and checked whenever it is read.

The file has a contiguous uncompressed dataset `data` and the attribute `record`, canonical JSON of what the writer
said of it with the `sha256` of the data. Floats are kept as the integers their bits are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import canonical_json, hdf5, store


def write(
    path: Path, parts: Iterable[NDArray[Any]], shape: tuple[int, int], dtype: np.dtype[Any], record: dict[str, Any]
) -> None:
    """Write an array to `path`, whole or not at all; the caller holds a lock.

    What earlier writers of this path left half done is removed.

    Args:
        path: the file.
        parts: [n, D] of `dtype` each, in order; asked for one after the other, each written before the next.
        shape: rows and columns D of all parts together.
        dtype: integers, with a byte order.
        record: a JSON object without the key `sha256`.

    Raises:
        MissingError: the folder or the disk refuses it.
    """
    store.sweep(path.parent, f"{path.name}.*")
    with store.replacing(path) as temporary:
        file = h5py.File(temporary.name, "w")
        try:
            data, digest, done = file.create_dataset("data", shape, dtype), hashlib.sha256(), 0
            for part in parts:
                digest.update(np.ascontiguousarray(part).data)
                data[done : done + len(part)] = part
                done += len(part)
            file.attrs["record"] = canonical_json.dumps(record | {"sha256": digest.hexdigest()}).decode()
        finally:
            try:
                file.close()
            except RuntimeError as error:  # h5py's word for a full disk while it closes
                raise OSError(str(error)) from error


def read(
    path: Path, shape: tuple[int, int], dtype: np.dtype[Any], record: dict[str, Any], *, remedy: str
) -> NDArray[Any]:
    """The array, after everything the file claims was checked.

    Args:
        path: the file.
        shape, dtype, record: what it was written with.
        remedy: what to do about a file that is something else.

    Raises:
        MissingError: there is no such file.
        DamagedError: its array or record is not what was written.
    """
    try:
        with hdf5.opened(path) as file:
            stated = hdf5.read_json(file, "record")
            data = hdf5.read(file, "data", rank=2, limit=math.prod(shape) * dtype.itemsize)
    except DamagedError as error:
        raise DamagedError(error.message, remedy) from error
    if data.dtype != dtype or data.shape != shape:
        raise DamagedError(f"{path}: it holds {data.dtype} {list(data.shape)}, wanted {dtype} {list(shape)}", remedy)
    if stated != record | {"sha256": hashlib.sha256(data.data).hexdigest()}:
        raise DamagedError(f"{path}: its contents or its record are not those that were written", remedy)
    return data
