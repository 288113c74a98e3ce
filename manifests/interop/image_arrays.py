"""What several formats share: image arrays, channels first or last, and the files of a folder."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.images import IMAGE_FILE_BYTES, decode
from poisonsets.manifests.files.pixels import Images

EIGHT_BIT_RGB: Final = b"\x08\x02"
LARGEST: Final = 2**53  # of indices and labels, as in a manifest
NO_IMAGES: Final = np.zeros((0, 1, 1, 3), np.uint8)


def channels_last(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Images [P, H, W, 3] from [P, H, W, 3] or [P, 3, H, W].

    Raises:
        DamagedError: it is neither, could be both, or is too large.
    """
    shape = array.shape
    if len(shape) != 4 or (shape[1] == 3) == (shape[3] == 3):
        raise DamagedError(f"{where}: an array of shape {list(shape)}, wanted [P, H, W, 3] or [P, 3, H, W]")
    found = array if shape[3] == 3 else array.transpose(0, 2, 3, 1)
    if max(found.shape[1:3], default=0) > limits.IMAGE_SIDE:
        raise DamagedError(f"{where}: images of {found.shape[2]}x{found.shape[1]} pixels")
    return found


def stack_images(images: list[NDArray[Any]], size: int, where: str) -> NDArray[Any]:
    """Images [P, H, W, 3] from at least one of [H, W, 3] or [3, H, W].

    `size`, the bytes of their file, bounds them: a small pickle may refer to one image many times.

    Raises:
        DamagedError: they differ in size or type, are no images, or are far more than the file can hold.
    """
    if any((one.shape, one.dtype) != (images[0].shape, images[0].dtype) for one in images):
        raise DamagedError(f"{where}: poisons of different sizes or types")
    if sum(one.nbytes for one in images) > size + (1 << 20):  # small images may repeat
        raise DamagedError(f"{where}: {len(images)} poisons in a file of {size} bytes")
    return channels_last(np.stack(images), where)


def indices(array: NDArray[Any], where: str) -> tuple[int, ...]:
    """The integers of a one-dimensional array; whole floats count.

    Raises:
        DamagedError: it is no such array, or a number is far beyond any index.
    """
    if array.ndim != 1 or array.dtype.kind not in "iuf" or len(array) > limits.SLOTS_PER_TRIAL:
        raise DamagedError(f"{where}: an array of {array.dtype} {list(array.shape)}, wanted one integer per poison")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        raise DamagedError(f"{where}: numbers that are not whole")
    if (np.abs(array.astype(np.float64)) > LARGEST).any():
        raise DamagedError(f"{where}: numbers beyond {LARGEST}")
    return tuple(int(one) for one in array)


def optional_values(values: tuple[int, ...]) -> tuple[int | None, ...]:
    """Indices or labels, with None for -1."""
    return tuple(None if value == -1 else value for value in values)


def read_png(path: Path, base: Base) -> Images:
    """Read an 8-bit RGB PNG file of the size of the base's images, uint8 [H, W, 3].

    Raises:
        DamagedError: it is another kind of file, or of another size; nothing is converted silently.
    """
    data = store.read_file(path, IMAGE_FILE_BYTES)
    if data[24:26] != EIGHT_BIT_RGB:
        raise DamagedError(f"{path.name}: not an 8-bit RGB PNG file")
    return decode_sized(data, path.name, base)


def decode_sized(data: bytes, where: str, base: Base) -> Images:
    """Decode an image file of the size of the base's images, uint8 [H, W, 3].

    Raises:
        DamagedError: it cannot be read, or is of another size.
    """
    image, (height, width) = decode(data, where, None), base.train.side
    if image.shape[:2] != (height, width):
        found = f"{image.shape[1]}x{image.shape[0]}"
        raise DamagedError(f"{where}: {found} pixels, the images of {base.name} have {width}x{height}")
    return image


def unlinked(folder: Path) -> Path:
    """The path itself.

    Raises:
        DamagedError: it is a link.
    """
    if folder.is_symlink():
        raise DamagedError(f"{folder.name}: a link; only folders are read")
    return folder


def begins(path: Path, first: bytes) -> bool:
    """Whether it is a readable regular file that begins with these bytes."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(first)) == first
    except OSError:
        return False


def ends_with_name(path: Path, names: tuple[str, ...]) -> bool:
    """Whether a zip file's directory, at its end, names one of these members."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - (1 << 16), 0))
            last = file.read(1 << 16)
    except OSError:
        return False
    return any(name.encode() in last for name in names)
