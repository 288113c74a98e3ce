"""Pickles of poisons: images, arrays and tensors become arrays, by the interpreter of data opcodes.

Besides NumPy's names an image of Pillow (made in memory, or opened from a PNG or JPEG file) and a tensor of PyTorch
are known. What the names stand for is never imported; everything else is refused by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.pickles import interpreter
from poisonsets.manifests.files.pickles.machine import Allowed, Global, Pending, RefusedError
from poisonsets.manifests.files.pickles.numpy_globals import NUMPY
from poisonsets.manifests.files.pickles.torch_files import tensors
from poisonsets.manifests.files.pixels import Images

PICKLE_BYTES: Final = 256 << 20
LONGEST_STATE: Final = 10
CLASSES: Final = (
    ("PIL.Image", "Image"),
    ("PIL.PngImagePlugin", "PngImageFile"),
    ("PIL.JpegImagePlugin", "JpegImageFile"),
)


def read_pickle(path: Path, limit: int = PICKLE_BYTES) -> Any:
    """The value of a pickle: lists, tuples, numbers, and arrays; an image is uint8 [H, W, 3].

    Raises:
        MissingError: there is no such file.
        DamagedError: it is larger than the limit, no pickle, or holds anything else.
    """
    data = store.read_file(path, limit)
    return interpreter.load(data, str(path), {**KNOWN, **tensors(len(data), str(path))})


def _image(arguments: tuple[Any, ...]) -> Pending:
    if arguments:
        raise RefusedError("an image made from something")
    return Pending(_pixels)


def _pixels(state: Any) -> Images:
    """The state of a Pillow image: info, mode, size, palette, raw bytes; classes of file formats add to it."""
    if type(state) is not list or not 5 <= len(state) <= LONGEST_STATE:
        raise RefusedError("an image whose state is not that of Pillow")
    _info, mode, size, _palette, raw = state[:5]
    if mode != "RGB":
        raise RefusedError(f"an image of mode {str(mode)[:20]}, only RGB is read")
    if type(size) not in (tuple, list) or len(size) != 2 or any(type(n) is not int for n in size):
        raise RefusedError("an image without a size")
    width, height = size
    if not (1 <= width <= limits.IMAGE_SIDE and 1 <= height <= limits.IMAGE_SIDE):
        raise RefusedError(f"an image of {width}x{height} pixels, sides of 1-{limits.IMAGE_SIDE} are read")
    if type(raw) is not bytes or len(raw) != width * height * 3:
        raise RefusedError(f"an image of {width}x{height} pixels without its {width * height * 3} bytes")
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


KNOWN: Final[Allowed] = {**NUMPY, **{key: Global(".".join(key), _image) for key in CLASSES}}


def integer(value: Any, what: str) -> int:
    """A label or an index: an integer, or an array or tensor of exactly one.

    Args:
        value: as the file has it.
        what: for the error, with its place.

    Raises:
        DamagedError: it is neither.
    """
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iu":
        value = value.item()
    if type(value) is not int:
        raise DamagedError(f"{what}: {_kind(value)} where an integer was expected")
    return value


def integers(value: Any, what: str) -> list[int]:
    """A list of integers: a list or tuple, or a one-dimensional array or tensor.

    Raises:
        DamagedError: it is none.
    """
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.kind not in "iu":
            raise DamagedError(f"{what}: {_kind(value)} where a list of integers was expected")
        return [int(one) for one in value]
    if type(value) not in (list, tuple):
        raise DamagedError(f"{what}: {_kind(value)} where a list of integers was expected")
    return [integer(one, f"{what}, entry {place}") for place, one in enumerate(value)]


def image(value: Any, what: str) -> Images:
    """A picture: uint8 [H, W, 3].

    Raises:
        DamagedError: it is none.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
        raise DamagedError(f"{what}: {_kind(value)} where an image was expected")
    return value


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {list(value.shape)}"
    return f"a value of type {type(value).__name__}"
