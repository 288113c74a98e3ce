"""Image files as uint8 RGB; a file that is not a plain PNG or JPEG is refused by name."""

import io
import struct
import warnings
import zlib
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.limits import IMAGE_SIDE

IMAGE_FILE_BYTES: Final = 8 << 20
SUFFIXES: Final = (".png", ".jpg", ".jpeg")
LARGEST_SOURCE: Final = 8 * IMAGE_SIDE  # a side of an image that is resized on reading
PNG_END: Final = b"IEND\xaeB`\x82"
MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
UNREADABLE: Final = (
    *(Image.DecompressionBombWarning, Image.DecompressionBombError, OSError, ValueError, SyntaxError),
    *(EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error),
)


def decode(data: bytes, name: str, resize: int | None) -> Images:
    """One image file as uint8 [H, W, 3].

    Args:
        data: the file's bytes.
        name: its name, for errors.
        resize: the side of the square it is resized to (bicubic, after conversion to RGB), or None.

    Raises DamagedError where it is not a readable PNG or JPEG, has more than 8 bits a channel, or a side is too long.
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
    except UNREADABLE as error:
        # Pillow would name an object by its address, so that no two messages were equal.
        reason = "of another format" if isinstance(error, UnidentifiedImageError) else str(error)[:80]
        raise DamagedError(f"{name}: not a readable PNG or JPEG image ({reason})") from error
    return np.asarray(image)


def _check_png(data: bytes, name: str) -> None:
    """Refuse what Pillow ignores silently: the lower half of 16 bits, and a file cut after its pixels."""
    if data[24] > 8:
        raise DamagedError(f"{name}: {data[24]} bits a channel, 8 were expected")
    if PNG_END not in data:
        raise DamagedError(f"{name}: a PNG image without an end: the file is cut")


def resized(images: Images, side: int) -> Images:
    """Every image of uint8 [N, H, W, 3] resized to side x side (bicubic)."""
    if images.shape[1:3] == (side, side):
        return images
    result = np.empty((len(images), side, side, 3), np.uint8)
    for i, image in enumerate(images):
        result[i] = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    return result
