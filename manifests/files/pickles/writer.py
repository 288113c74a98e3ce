"""Pickles of images, arrays and plain values, written opcode by opcode: what old evaluators want, byte for byte equal.

Protocol 4 without memo and frames, which every Python since 3.4 reads. An image becomes the `PIL.Image.Image` that
holds it, an array NumPy's own; both names are those that old and new versions of the libraries know.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

START: Final = b"\x80\x04"
STOP: Final = b"."
IMAGE: Final = b"cPIL.Image\nImage\n"
RECONSTRUCT: Final = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY: Final = b"cnumpy\nndarray\n"
DTYPE: Final = b"cnumpy\ndtype\n"


def dumps(value: Any) -> bytes:
    """The pickle of a value.

    Args:
        value: lists and tuples of int (64 bits), str, bytes, None, bool, and arrays: uint8 [H, W, 3] is an image, any
            other array of integers or floats an array.

    Raises:
        TypeError: it holds anything else.
    """
    return START + _spelled(value) + STOP


def _spelled(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, str):
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, list):
        return b"](" + b"".join(map(_spelled, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_spelled, value)) + b"t"
    if isinstance(value, np.ndarray):
        return _image(value) if value.dtype == np.uint8 and value.shape[2:] == (3,) else _array(value)
    raise TypeError(f"no pickle is written of a {type(value).__name__}")


def _integer(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _image(image: NDArray[np.uint8]) -> bytes:
    height, width, _ = image.shape
    state = _spelled(["RGB", (width, height), None, image.tobytes()])
    return IMAGE + b")\x81](}" + state[2:] + b"b"


def _array(array: NDArray[Any]) -> bytes:
    """An empty array that is then given version, shape, dtype, order (C) and bytes."""
    flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    code, order = flat.dtype.str[1:], flat.dtype.str[:1]
    dtype = DTYPE + _spelled((code, False, True)) + b"R" + _spelled((3, order, None, None, None, -1, -1, 0)) + b"b"
    empty = RECONSTRUCT + b"(" + NDARRAY + _spelled((0,)) + _spelled(b"b") + b"tR"
    return (
        empty + b"(" + _spelled(1) + _spelled(tuple(array.shape)) + dtype + b"\x89" + _spelled(flat.tobytes()) + b"tb"
    )
