"""The safetensors format without its library: where arrays lie in a file, and the digest that names them.

Eight little-endian bytes with the length of a JSON header; the header, from an array's name to its dtype, shape and
place (`data_offsets`) with free text under `__metadata__`; the values.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import canonical_json

Arrays: TypeAlias = dict[str, NDArray[Any]]
BytesAt: TypeAlias = Callable[[int, int], bytearray | memoryview]
"""Gives the bytes of a file from a place on, so many."""

HEADER_BYTES: Final = 1 << 20
# In the order in which the library lays arrays, so that each begins at a multiple of its item size.
DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "U8": np.dtype("u1"),
}
# What files of others hold besides; the bits of bfloat16 as uint16, for numpy has no such type.
FOREIGN_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    **DTYPES,
    "F64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "BOOL": np.dtype("u1"),
}
NAME: Final = re.compile(r"[!-~]{1,200}")
"""An array's name. A space or a line feed in it could spell another array's line, and two files share a digest."""
DIGEST_BEGINS: Final = b"weights/1\n"
DIMENSIONS: Final = 8
LARGEST: Final = 2**53
"""The most values of an array, empty axes counted as 1: numpy refuses some empty arrays for their other axes."""
_DTYPE_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


class ArraySpec(NamedTuple):
    """The dtype of an array, a key of `FOREIGN_DTYPES`, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    @classmethod
    def of(cls, array: NDArray[Any]) -> ArraySpec:
        """The spec of an array of one of the `DTYPES`, in any byte order."""
        return cls(_DTYPE_NAMES[array.dtype.newbyteorder("<")], array.shape)

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * FOREIGN_DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Header:
    """What stands before the values, checked.

    Attributes:
        specs: of each array, by name.
        starts: the place in the file at which its values begin.
        metadata: whatever stands there; None where nothing does.
    """

    specs: dict[str, ArraySpec]
    starts: dict[str, int]
    metadata: Any

    def values(self, bytes_at: BytesAt) -> Arrays:
        """The arrays, in the memory that their bytes are given in."""
        return {
            name: np.ndarray(spec.shape, FOREIGN_DTYPES[spec.dtype], bytes_at(self.starts[name], spec.size))
            for name, spec in self.specs.items()
        }


def read_header(
    bytes_at: BytesAt,
    size: int,
    where: str,
    *,
    limit: int = HEADER_BYTES,
    dtypes: Mapping[str, np.dtype[Any]] = DTYPES,
) -> Header:
    """The header of a file.

    Args:
        bytes_at: reads the file.
        size: of the file, in bytes.
        where: its name, for the error.
        limit: the most bytes that its header may have.
        dtypes: what its arrays may be of, `DTYPES` or `FOREIGN_DTYPES`.

    Raises:
        DamagedError: it is no safetensors file of these dtypes, an array has a name that is not `NAME`, or bytes belong
            to no array or to two.
    """
    length = int.from_bytes(bytes_at(0, 8), "little") if size >= 8 else 0
    if not 0 < length <= min(limit, size - 8):
        raise DamagedError(f"{where}: not a safetensors file, or one with a header over {limit} bytes")
    try:
        text = bytes(bytes_at(8, length)).decode("utf-8")
        header = json.loads(text, object_pairs_hook=canonical_json.unique_keys)
        metadata = header.pop("__metadata__", None)
        entries = {name: _entry(entry, dtypes) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{where}: its safetensors header cannot be read ({str(error)[:80]})") from error
    if odd := [name for name in entries if not NAME.fullmatch(name)]:
        raise DamagedError(f"{where}: a tensor's name is not 1 to 200 characters from ! to ~: {odd[0][:60]!a}")
    at = 8 + length
    starts = {name: at + start for name, (_, start) in entries.items()}
    for start, count in sorted((starts[name], spec.size) for name, (spec, _) in entries.items()):
        if start != at:
            raise DamagedError(f"{where}: at byte {at} tensors overlap or leave a gap")
        at += count
    if at != size:
        raise DamagedError(f"{where}: its tensors end at byte {at} of {size}")
    return Header({name: spec for name, (spec, _) in entries.items()}, starts, metadata)


def header_bytes(specs: Mapping[str, ArraySpec], metadata: dict[str, str]) -> bytes:
    """All that stands before the values, the bytes that the safetensors library writes; values go by `layout`."""
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name in layout(specs):
        spec = specs[name]
        header[name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [at, at + spec.size]}
        at += spec.size
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def layout(specs: Mapping[str, ArraySpec]) -> list[str]:
    """The names of arrays in the order of their values in a file."""
    return sorted(specs, key=lambda name: (list(DTYPES).index(specs[name].dtype), name))


def little_endian(array: NDArray[Any]) -> memoryview:
    """The bytes of an array's values as a file holds them."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def arrays_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The sha256 that names arrays, wherever and however they are stored; of a network's tensors, its weights.

    Over the arrays in the order of their names: a line `name dtype shape` (shape with commas), then the values.
    """
    digest = hashlib.sha256(DIGEST_BEGINS)
    for name, array in sorted(arrays.items()):
        digest.update(digest_line(name, ArraySpec.of(array)))
        digest.update(little_endian(array))
    return digest.hexdigest()


def digest_line(name: str, spec: ArraySpec) -> bytes:
    """What a digest has before an array's values."""
    return f"{name} {spec.dtype} {','.join(map(str, spec.shape))}\n".encode("ascii")


def tensors_digest(data: bytes, where: str) -> str:
    """The digest of the tensors in a network's file, whatever its metadata says.

    Args:
        data: the file.
        where: its name, for the error.

    Raises:
        DamagedError: as `read_header`, or a tensor is neither float32 nor int64.
    """
    view = memoryview(data)

    def bytes_at(start: int, count: int) -> memoryview:
        return view[start : start + count]

    header = read_header(bytes_at, len(data), where)
    if odd := [name for name, spec in header.specs.items() if spec.dtype not in ("F32", "I64")]:
        raise DamagedError(f"{where}: tensor {odd[0]} is {header.specs[odd[0]].dtype}, networks have F32 and I64")
    return arrays_digest(header.values(bytes_at))


def _entry(entry: Any, dtypes: Mapping[str, np.dtype[Any]]) -> tuple[ArraySpec, int]:
    """The spec and the start of a header's entry; where it ends follows from the two."""
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in dtypes:
        raise ValueError(f"a tensor of dtype {str(dtype)[:20]}, read are {', '.join(dtypes)}")
    if type(shape) is not list or any(type(number) is not int or number < 0 for number in (*shape, start, end)):
        raise ValueError("a shape or an offset is no list of whole numbers")
    if len(shape) > DIMENSIONS or math.prod(max(number, 1) for number in shape) > LARGEST:
        raise ValueError(f"a shape of more than {DIMENSIONS} dimensions or {LARGEST} values")
    spec = ArraySpec(dtype, tuple(shape))
    if end - start != spec.size:
        raise ValueError(f"a tensor {dtype} {shape} cannot have {end - start} bytes")
    return spec, start
