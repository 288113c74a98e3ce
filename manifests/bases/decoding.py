"""Image files become uint8 RGB of one size; a file that is not a plain PNG or JPEG is refused by name."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from poisonsets.manifests import store
from poisonsets.manifests.bases.dataset import Images
from poisonsets.manifests.bases.kind import Labelled, Progress
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.limits import FILE_BYTES, IMAGE_SIDE

IMAGE_FILE_BYTES: Final = 8 << 20
PROGRESS_STEP: Final = 250  # images between two reports
SUFFIXES: Final = (".png", ".jpg", ".jpeg")
# An image that is resized on reading may be this much larger than one that is kept.
LARGEST_SOURCE: Final = 8 * IMAGE_SIDE
PNG_END: Final = b"IEND\xaeB`\x82"
MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)


def decode(data: bytes, name: str, resize: int | None) -> Images:
    """One image file as uint8 [H, W, 3].

    Args:
        data: the file's bytes.
        name: its name, for errors.
        resize: the side of the square it is resized to (bicubic, after conversion to RGB), or None.

    Raises:
        DamagedError: not a readable PNG or JPEG, more than 8 bits a channel, or a side out of bounds.
    """
    limit = IMAGE_SIDE if resize is None else LARGEST_SOURCE
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a decompression bomb.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data), formats=["PNG", "JPEG"])
        if max(image.size) > limit:
            raise DamagedError(f"{name}: {image.width}x{image.height} pixels, at most {limit} a side are read")
        if image.mode not in MODES:
            raise DamagedError(f"{name}: pixels of mode {image.mode}, 8 bits a channel were expected")
        if image.format == "PNG":
            _check_png(data, name)
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        image = image.convert("RGB")
        if resize is not None and image.size != (resize, resize):
            image = image.resize((resize, resize), Image.Resampling.BICUBIC)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError, *UNREADABLE) as error:
        # Pillow would name an object by its address, so that no two messages were equal.
        reason = "of another format" if isinstance(error, UnidentifiedImageError) else str(error)[:80]
        raise DamagedError(f"{name}: not a readable PNG or JPEG image ({reason})") from error
    return np.asarray(image)


def _check_png(data: bytes, name: str) -> None:
    """What Pillow passes over in silence: the lower half of 16 bits, and that a file is cut behind its pixels."""
    if data[24] > 8:
        raise DamagedError(f"{name}: {data[24]} bits a channel, 8 were expected")
    if PNG_END not in data:
        raise DamagedError(f"{name}: a PNG image without an end, so the file is cut")


def resized(images: Images, side: int) -> Images:
    """Every image of uint8 [N, H, W, 3] resized to side x side (bicubic)."""
    if images.shape[1:3] == (side, side):
        return images
    result = np.empty((len(images), side, side, 3), np.uint8)
    for i, image in enumerate(images):
        result[i] = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    return result


class ImageStack:
    """Images of one size, added one by one without knowing how many there will be.

    Args:
        resize: the side every image is resized to, or None to keep their one size.
    """

    def __init__(self, resize: int | None) -> None:
        self._resize = resize
        self._pixels = bytearray()
        self._labels: list[int] = []
        self._first: tuple[str, tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, data: bytes, label: int, name: str) -> None:
        """Decode one image file and put it at the end.

        Raises:
            DamagedError: see `decode`.
            UsageError: its size is not that of the first image, or the stack grows past `limits.FILE_BYTES`.
        """
        image = decode(data, name, self._resize)
        if self._first is None:
            self._first = name, image.shape
        first, shape = self._first
        if image.shape != shape:
            sizes = f"{shape[1]}x{shape[0]} and {image.shape[1]}x{image.shape[0]}"
            raise UsageError(
                f"{first} and {name} differ in size: {sizes} pixels", "Pass --resize N to resize all to NxN"
            )
        if len(self._pixels) + image.size > FILE_BYTES:
            raise UsageError(f"{name}: the split grows past {FILE_BYTES} bytes of pixels", "Pass a smaller --resize N")
        self._pixels += image.tobytes()
        self._labels.append(label)

    def labelled(self, where: Path) -> Labelled:
        """What was added.

        Raises:
            MissingError: nothing was.
        """
        if self._first is None:
            raise MissingError(f"{where}: no image found", "Check the path")
        pixels = np.frombuffer(self._pixels, np.uint8).reshape(len(self), *self._first[1])
        return Labelled(pixels, np.array(self._labels, dtype=np.int64))


def decode_splits(
    splits: Sequence[Sequence[tuple[Path, int]]], where: Path, resize: int | None, progress: Progress
) -> list[Labelled]:
    """The image files of each split, each file with its label, decoded in the order given.

    Args:
        splits: for each split its files and their labels.
        where: the dataset's folder, for errors.
        resize: the side to resize to, or None.
        progress: told the images read and their total.

    Raises:
        MissingError: a split has no file, or a file cannot be opened.
        DamagedError, UsageError: see `ImageStack.add`.
    """
    total = sum(map(len, splits))
    done = 0
    result = []
    for files in splits:
        stack = ImageStack(resize)
        for path, label in files:
            stack.add(store.read_file(path, IMAGE_FILE_BYTES, follow=True), label, str(path))
            done += 1
            if done % PROGRESS_STEP == 0 or done == total:
                progress(done, total)
        result.append(stack.labelled(where))
    return result
