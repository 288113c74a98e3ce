"""Pickles of images, arrays and plain values for old evaluators, written opcode by opcode; equal values, equal bytes.

Protocol 4 without memo and frames, which every Python since 3.4 reads. An image becomes a `PIL.Image.Image`, an array
NumPy's, under names that old and new versions of the libraries know.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray


def dumps(value: Any) -> bytes:
    """The pickle of nested lists and tuples of int (64 bits), str, bytes, None, bool, and arrays of integers or floats.

    An array uint8 [H, W, 3] is written as an image. Raises TypeError for anything else.
    """
    return b"\x80\x04" + _encode(value) + b"."


def _encode(value: Any) -> bytes:
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
        return b"](" + b"".join(map(_encode, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_encode, value)) + b"t"
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
    state = _encode(["RGB", (width, height), None, image.tobytes()])
    return b"cPIL.Image\nImage\n)\x81](}" + state[2:] + b"b"


def _array(array: NDArray[Any]) -> bytes:
    """An empty array, then its state: version, shape, dtype, order (C) and bytes."""
    flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    code, order = flat.dtype.str[1:], flat.dtype.str[:1]
    byte_order = _encode((3, order, None, None, None, -1, -1, 0))
    dtype = b"cnumpy\ndtype\n" + _encode((code, False, True)) + b"R" + byte_order + b"b"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _encode((0,)) + _encode(b"b") + b"tR"
    state = _encode(1) + _encode(tuple(array.shape)) + dtype + _encode(False) + _encode(flat.tobytes())
    return empty + b"(" + state + b"tb"
