"""Pickles of poisons: images, arrays and tensors become arrays, by the interpreter of data opcodes.

It knows NumPy's names, PyTorch's tensors and Pillow's images, made in memory or opened from a PNG or JPEG file. What
the names stand for is never imported; every other name is refused.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.pickles import interpreter
from poisonsets.manifests.files.pickles.machine import Pending, RefusedError, global_table, without_arguments
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
        DamagedError: it has over `limit` bytes, is no pickle, or holds anything else.
    """
    data = store.read_file(path, limit)
    return interpreter.load(data, str(path), {**KNOWN, **tensors(len(data), str(path))})


def _pixels(state: Any) -> Images:
    """The pixels in a Pillow image's state: info, mode, size, palette, raw bytes, and what a file format adds."""
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


KNOWN: Final = {**NUMPY, **global_table({key: without_arguments(lambda: Pending(_pixels)) for key in CLASSES})}


def integer(value: Any, what: str) -> int:
    """A label or an index: an integer, or an array or tensor of exactly one; `what` places it in the error.

    Raises DamagedError where it is neither.
    """
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iu":
        value = value.item()
    if type(value) is not int:
        raise _unexpected(value, "an integer", what)
    return value


def integers(value: Any, what: str) -> list[int]:
    """A list of integers: a list or tuple, or a one-dimensional array or tensor.

    Raises DamagedError where it is none.
    """
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        return [int(number) for number in value]
    if type(value) not in (list, tuple):
        raise _unexpected(value, "a list of integers", what)
    return [integer(number, f"{what}, entry {place}") for place, number in enumerate(value)]


def image(value: Any, what: str) -> Images:
    """An image, uint8 [H, W, 3].

    Raises DamagedError where it is none.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
        raise _unexpected(value, "an image", what)
    return value


def _unexpected(value: Any, wanted: str, what: str) -> DamagedError:
    array = isinstance(value, np.ndarray)
    found = f"an array of {value.dtype} {list(value.shape)}" if array else f"a value of type {type(value).__name__}"
    return DamagedError(f"{what}: {found} where {wanted} was expected")
