"""What `torch.save` wrote, without torch: tensors become read-only views of the file's bytes, nothing is called.

Two forms are in circulation: a zip of one pickle and raw storages, and the older row of pickles with the storages
behind them. Tensors inside an ordinary pickle hold a file of the second form, which goes through the same interpreter.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pickles import interpreter
from poisonsets.manifests.files.pickles.machine import Allowed, Global, RefusedError, global_table, without_arguments
from poisonsets.manifests.files.pickles.numpy_globals import DIMENSIONS, NUMPY
from poisonsets.manifests.files.zip_reader import Archive

MAGIC: Final = 119547037146038801333356
VERSION: Final = 1001
DTYPES: Final = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<u1",
}


@dataclass(frozen=True, eq=False)
class Storage:
    """The values under tensors, one-dimensional; None while their place in the file is not yet known."""

    values: NDArray[Any] | None


def load_torch(data: bytes, where: str) -> Any:
    """The value of a whole file that `torch.save` wrote: lists, dicts, numbers, and tensors as read-only arrays.

    Raises DamagedError where it is neither of the two forms, or holds anything but plain data and tensors.
    """
    return _zipped(data, where) if data[:4] == b"PK\x03\x04" else _legacy(data, where)


def tensors(room: int, where: str) -> Allowed:
    """The globals of tensors inside an ordinary pickle of `room` bytes: its nested files hold no more in all."""
    left = room

    def nested(arguments: tuple[Any, ...]) -> Storage:
        nonlocal left
        (data,) = arguments
        if type(data) is not bytes:
            raise RefusedError("a tensor without bytes")
        left -= len(data)
        if left < 0:
            raise RefusedError("nested tensors hold more bytes than the file has")
        value = _legacy(data, f"{where}: a tensor")
        if type(value) is not Storage:
            raise RefusedError("a nested file that is no storage")
        return value

    return {**_TENSORS, ("torch.storage", "_load_from_bytes"): Global("torch.storage._load_from_bytes", nested)}


def _legacy(data: bytes, where: str) -> Any:
    heads, at = [], 0
    for _ in range(3):
        value, at = interpreter.load_first(data, where, {}, start=at)
        heads.append(value)
    system = heads[2]
    if heads[:2] != [MAGIC, VERSION] or type(system) is not dict or system.get("little_endian") is not True:
        raise DamagedError(f"{where}: not a file of torch.save, or of a big-endian machine")
    claimed: dict[str, tuple[np.dtype[Any], int]] = {}

    def claim(identity: Any) -> Storage:
        key, dtype, count = _storage_claim(identity)
        if claimed.setdefault(key, (dtype, count)) != (dtype, count):
            raise RefusedError("two storages of one name")
        return Storage(None)

    # Once to learn which storages there are, and once more when their place behind the pickle is known.
    _, end = interpreter.load_first(data, where, _FILE, start=at, persistent=claim)
    keys, end = interpreter.load_first(data, where, {}, start=end)
    storages = _storages(data, end, keys, claimed, where)
    value, _ = interpreter.load_first(
        data, where, _FILE, start=at, persistent=lambda identity: storages[_storage_claim(identity)[0]]
    )
    return value


def _storages(
    data: bytes, at: int, keys: Any, claimed: dict[str, tuple[np.dtype[Any], int]], where: str
) -> dict[str, Storage]:
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(claimed):
        raise DamagedError(f"{where}: the list of storages is not that of the tensors")
    storages = {}
    for key in keys:
        dtype, count = claimed[key]
        start, at = at + 8, at + 8 + count * dtype.itemsize
        if at > len(data) or int.from_bytes(data[start - 8 : start], "little") != count:
            raise DamagedError(f"{where}: a storage of {count} values is cut or of another length")
        storages[key] = Storage(np.frombuffer(data[start:at], dtype))
    if at != len(data):
        raise DamagedError(f"{where}: {len(data) - at} bytes follow the last storage")
    return storages


def _zipped(data: bytes, where: str) -> Any:
    archive = Archive(data, where)
    pickles = [name for name in archive.sizes if re.fullmatch(r"[^/]{1,200}/data\.pkl", name)]
    if len(pickles) != 1:
        raise DamagedError(f"{where}: a zip file that torch.save did not write: {len(pickles)} members NAME/data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.sizes and archive.read(f"{folder}byteorder") != b"little":
        raise DamagedError(f"{where}: written on a big-endian machine")
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Storage:
        key, dtype, count = _storage_claim(identity)
        if key not in storages:
            raw = archive.read(f"{folder}data/{key}")
            if len(raw) != count * dtype.itemsize:
                raise RefusedError(f"a storage of {count} values in {len(raw)} bytes")
            storages[key] = Storage(np.frombuffer(raw, dtype))
        return storages[key]

    pickled = archive.read(pickles[0])
    value, end = interpreter.load_first(pickled, f"{where}: data.pkl", _FILE, persistent=storage)
    if end != len(pickled):
        raise DamagedError(f"{where}: data.pkl: {len(pickled) - end} bytes follow the end of the pickle")
    return value


def _storage_claim(identity: Any) -> tuple[str, np.dtype[Any], int]:
    """Name, dtype and count of the storage that a persistent id means."""
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
        raise RefusedError("a persistent id that is no storage")
    _, kind, key, _device, count = identity[:5]
    if identity[5:] not in ((), (None,)):
        raise RefusedError("a view of a storage")
    name = kind.name.removeprefix("torch.") if isinstance(kind, Global) else ""
    if name not in DTYPES or type(key) is not str or not re.fullmatch(r"[0-9]{1,20}", key):
        raise RefusedError("a persistent id of an unknown storage")
    if type(count) is not int or count < 0:
        raise RefusedError("a storage without a length")
    return key, np.dtype(DTYPES[name]), count


def _tensor(arguments: tuple[Any, ...]) -> NDArray[Any]:
    """A view: strides may permute a storage and skip parts of it, but not repeat it past its own length."""
    storage, offset, size, stride = arguments[:4]
    if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple:
        raise RefusedError("a tensor without storage, size and stride")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > DIMENSIONS or any(type(n) is not int or n < 0 for n in numbers):
        raise RefusedError("a tensor with a malformed size or stride")
    if storage.values is None:
        return np.empty(0)
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset - 1
    if max(last + 1, count) > len(storage.values):
        raise RefusedError(f"a tensor of size {str(size)[:60]} in a storage of {len(storage.values)} values")
    values = storage.values[offset:]
    return as_strided(values, size, tuple(step * values.itemsize for step in stride), writeable=False)


_TENSORS: Final = global_table(
    {
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_tensor"): _tensor,
        ("collections", "OrderedDict"): without_arguments(dict),
    }
)
_FILE: Final = {**NUMPY, **_TENSORS, **global_table({("torch", name): None for name in DTYPES})}
