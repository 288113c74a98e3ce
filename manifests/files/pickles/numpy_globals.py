"""NumPy's globals in foreign pickles, each mapped to a call that only arranges bytes already read.

Other formats, such as pickled images, give `interpreter.load` tables of their own.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.files.pickles.machine import Call, Pending, RefusedError, global_table, without_arguments

CODES: Final = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "f4", "f8"})
DIMENSIONS: Final = 8


def _dtype(arguments: tuple[Any, ...]) -> Pending:
    code = _string(arguments[0])
    if code not in CODES:
        raise RefusedError(f"the dtype {code[:20]} is not one of {', '.join(sorted(CODES))}")

    def complete(state: Any) -> np.dtype[Any]:
        order = _string(state[1])
        if order not in ("<", ">", "|") or any(part is not None for part in state[2:5]):
            raise RefusedError("a dtype with fields or an unknown byte order")
        return np.dtype(order + code)

    return Pending(complete)


def _reconstruct(arguments: tuple[Any, ...]) -> Pending:
    if arguments[0] is not NUMPY["numpy", "ndarray"]:
        raise RefusedError("an array of another class than numpy.ndarray")

    def complete(state: Any) -> NDArray[Any]:
        _version, shape, dtype, fortran, raw = state
        return _array(raw, dtype, shape, "F" if fortran else "C")

    return Pending(complete)


def _frombuffer(arguments: tuple[Any, ...]) -> NDArray[Any]:
    raw, dtype, shape, order = arguments
    return _array(raw, dtype, shape, _string(order))


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any]:
    """A read-only view of `raw`: no copy, so a memo cannot multiply memory."""
    if type(raw) is not bytes or not isinstance(dtype, np.dtype) or type(shape) is not tuple:
        raise RefusedError("an array without bytes, dtype and shape")
    if len(shape) > DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise RefusedError("an array with a malformed shape")
    if order not in ("C", "F") or math.prod(shape) * dtype.itemsize != len(raw):
        raise RefusedError(f"an array of shape {str(shape)[:60]} in {len(raw)} bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(arguments: tuple[Any, ...]) -> Any:
    dtype, raw = arguments
    return _array(raw, dtype, (1,), "C")[0].item()


def _encode(arguments: tuple[Any, ...]) -> bytes:
    """Python 3's bytes in protocols 0 to 2: text to encode."""
    text, encoding = arguments
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise RefusedError("an encoding other than latin1")
    return text.encode("latin1")


def _string(value: Any) -> str:
    """A name, which Python 2 wrote as a byte string."""
    if type(value) is bytes:
        return value.decode("ascii")
    if type(value) is not str:
        raise RefusedError("a string was expected")
    return value


def _core(package: str) -> dict[tuple[str, str], Call]:
    return {
        (f"numpy.{package}.multiarray", "scalar"): _scalar,
        (f"numpy.{package}.multiarray", "_reconstruct"): _reconstruct,
        (f"numpy.{package}.numeric", "_frombuffer"): _frombuffer,
    }


NUMPY: Final = global_table(
    {
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
        ("__builtin__", "bytes"): without_arguments(bytes),  # b"" in protocols 0 to 2
        **_core("core"),
        **_core("_core"),  # its name since numpy 2
    }
)
