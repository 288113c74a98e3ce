"""The storages under torch's tensors, and the calls that lay tensors over them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from poisonsets.manifests.files.pickles.machine import Ordered, RefusedError, global_table
from poisonsets.manifests.files.pickles.numpy_globals import DIMENSIONS

BFLOAT16: Final = "BFloat16Storage"
STORAGES: Final[dict[str, np.dtype[Any]]] = {
    name: np.dtype(code)
    for name, code in {
        "FloatStorage": "<f4",
        "DoubleStorage": "<f8",
        "HalfStorage": "<f2",
        BFLOAT16: "<u2",
        "LongStorage": "<i8",
        "IntStorage": "<i4",
        "ShortStorage": "<i2",
        "CharStorage": "<i1",
        "ByteStorage": "<u1",
        "BoolStorage": "<u1",
    }.items()
}
"""The dtype of a storage's values in a file, by its class in torch."""


@dataclass(frozen=True, eq=False)
class Storage:
    """The values under tensors, one-dimensional; None while their place in the file is not yet known."""

    values: NDArray[Any] | None

    @classmethod
    def of(cls, raw: memoryview, kind: str) -> "Storage":
        """The storage of a class of `STORAGES`, over bytes of the file."""
        values = np.frombuffer(raw, STORAGES[kind])
        return cls(widened(values) if kind == BFLOAT16 else values)


def widened(values: NDArray[Any]) -> NDArray[np.float32]:
    """The float32 values of bfloat16 ones, whose bits are given as uint16 [...]: exact, read-only."""
    bits = values.astype("<u4")
    bits <<= 16
    found: NDArray[np.float32] = bits.view("<f4")
    found.flags.writeable = False
    return found


def string(value: str | bytes) -> str:
    """A name, which Python 2 wrote as bytes; UnicodeDecodeError where it is no ASCII."""
    return value.decode("ascii") if isinstance(value, bytes) else value


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


def _parameter(arguments: tuple[Any, ...]) -> NDArray[Any]:
    """A parameter is its tensor; whether it takes a gradient is of no use here."""
    if not 1 <= len(arguments) <= 3 or not isinstance(arguments[0], np.ndarray):
        raise RefusedError("a parameter without a tensor")
    return arguments[0]


def _ordered(arguments: tuple[Any, ...]) -> Ordered:
    """Empty, or of the pairs that Python 2 wrote, which it takes out of their list."""
    if not arguments:
        return Ordered()
    (pairs,) = arguments
    if type(pairs) is not list:
        raise RefusedError("an OrderedDict of something that is no list")
    found = Ordered(map(_pair, pairs))
    pairs.clear()  # or a list that is named again and again would be copied as often
    return found


def _pair(pair: Iterable[Any]) -> tuple[Any, Any]:
    if type(pair) not in (list, tuple):
        raise RefusedError("an OrderedDict of something that is no pair")
    key, value = pair
    if type(key) not in (str, bytes, int):  # others may recurse when they are hashed
        raise RefusedError("a dict key that is neither a string nor an integer")
    return key, value


TENSORS: Final = global_table(
    {
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_tensor"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch.nn.parameter", "Parameter"): _parameter,
        ("collections", "OrderedDict"): _ordered,
    }
)
