"""NumPy's `.npy` and `.npz` read by their header: no object arrays, no more memory than the file has bytes."""

import io
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.zip_reader import Archive

ARRAY_BYTES: Final = 1 << 30  # read at once
HEADER_BYTES: Final = 4096
DIMENSIONS: Final = 8
MAGIC: Final = b"\x93NUMPY"
_HEADER: Final = re.compile(
    rb"\{'descr': '([<>|](?:b1|[iu][1248]|f[248]))', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9, ]{0,200})\),? ?\} *\n?"
)


@dataclass(frozen=True)
class Header:
    """What a `.npy` file claims, and where its values start."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse_header(data: bytes, where: str) -> Header:
    """The header of the `.npy` file that begins with these bytes.

    Raises DamagedError where it is none, or its array holds anything but integers and floats, or is too large.
    """
    version, width = data[6:7], 2 if data[6:7] == b"\x01" else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    if data[:6] != MAGIC or version not in (b"\x01", b"\x02", b"\x03") or length > HEADER_BYTES:
        raise DamagedError(f"{where}: not a .npy file")
    start = 8 + width + length
    match = _HEADER.fullmatch(data[start - length : start])
    if match is None or len(data) < start:
        raise DamagedError(f"{where}: a .npy header that is not of an array of integers or floats")
    shape = tuple(int(part) for part in match[3].decode().replace(" ", "").split(",") if part)
    if len(shape) > DIMENSIONS:
        raise DamagedError(f"{where}: an array of {len(shape)} dimensions, at most {DIMENSIONS} are read")
    dtype = np.dtype(match[1].decode())
    # numpy refuses some empty arrays for their other axes.
    if math.prod(max(side, 1) for side in shape) * dtype.itemsize > limits.FILE_BYTES:
        raise DamagedError(f"{where}: an array of shape {list(shape)}, at most {limits.FILE_BYTES} bytes are read")
    return Header(dtype, shape, match[2] == b"True", start)


def parse(data: bytes, where: str) -> NDArray[Any]:
    """The array of a whole `.npy` file, a read-only view of its bytes.

    Raises DamagedError where it is none, or holds more or fewer bytes than it claims.
    """
    header = parse_header(data, where)
    held = len(data) - header.start
    if held != header.size:
        raise DamagedError(f"{where}: {list(header.shape)} of {header.dtype} claimed, {held} bytes held")
    flat = np.frombuffer(data[header.start :], header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def read(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file.

    Raises:
        MissingError: there is no such file.
        DamagedError: as `parse`, or it is larger than `ARRAY_BYTES`.
    """
    return parse(store.read_file(path, ARRAY_BYTES), str(path))


def read_zip(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file by name.

    Raises:
        MissingError, DamagedError: as `read`; or the members together claim more than `ARRAY_BYTES`.
    """
    archive = Archive(store.read_file(path, ARRAY_BYTES), str(path), deflated=True)
    if sum(archive.sizes.values()) > ARRAY_BYTES:
        raise DamagedError(f"{path}: arrays of more than {ARRAY_BYTES} bytes")
    names = [name for name in archive.sizes if name.endswith(".npy")]
    return {name.removesuffix(".npy"): parse(archive.read(name), f"{path}: {name}") for name in names}


class NpyRows:
    """An array in a `.npy` file too large to hold, read some rows at a time.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is no regular file, not an array of `rank` dimensions in C order, or not as long as it claims.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self._path = path
        with store.reading(path) as file, store.as_damage(f"{path}: cannot be read", OSError):
            size = os.fstat(file.fileno()).st_size
            self.header = parse_header(file.read(HEADER_BYTES + 12), str(path))
        if len(self.header.shape) != rank or self.header.fortran:
            raise DamagedError(f"{path}: an array of shape {list(self.header.shape)}, {rank} dimensions were expected")
        if size - self.header.start != self.header.size or size > limits.FILE_BYTES:
            raise DamagedError(f"{path}: {size} bytes, {list(self.header.shape)} of {self.header.dtype} were claimed")

    def __len__(self) -> int:
        return self.header.shape[0]

    def parts(self, rows: int) -> Iterator[NDArray[Any]]:
        """The rows in order, `rows` at a time. Raises DamagedError where the file was cut meanwhile."""
        with store.reading(self._path) as file:
            file.seek(self.header.start)
            for first in range(0, len(self), rows):
                shape = (min(rows, len(self) - first), *self.header.shape[1:])
                size = math.prod(shape) * self.header.dtype.itemsize
                data = file.read(size)
                if len(data) != size:
                    raise DamagedError(f"{self._path}: cut")
                yield np.frombuffer(data, self.header.dtype).reshape(shape)


def encode(array: NDArray[Any]) -> bytes:
    """The `.npy` file of an array; equal arrays, equal bytes."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()
