"""Image files as uint8 RGB: nothing is guessed, made up or dropped, or it is said.

`decode` is for what others publish: PNG or JPEG, and nothing but the image in the file. `decode_own` is for a user's
own base, where files lie as cameras and web sites left them: also WEBP and BMP, and what is odd comes back as remarks.
"""

import io
import shlex
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, WebPImagePlugin

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import jpeg_markers, png
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.files.png_chunks import EIGHT_BITS, png_end
from poisonsets.manifests.limits import IMAGE_SIDE

WebPImagePlugin.WebPImageFile  # noqa: B018  registered now: Pillow would load all its readers for the first WEBP
IMAGE_FILE_BYTES: Final = 8 << 20
OWN_FILE_BYTES: Final = 64 << 20  # of a photograph that is resized on reading
SUFFIXES: Final = (".png", ".jpg", ".jpeg")
OWN_SUFFIXES: Final = (*SUFFIXES, ".jpe", ".jfif", ".webp", ".bmp")
OTHER_SUFFIXES: Final = (
    *(".gif", ".tif", ".tiff", ".apng", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".dib", ".svg", ".eps"),
    *(".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw"),
)
"""Suffixes of images that are refused by name."""
LARGEST_SOURCE: Final = 8 * IMAGE_SIDE  # a side of an image that is resized on reading
MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
UNREADABLE: Final = (
    *(Image.DecompressionBombWarning, Image.DecompressionBombError, OSError, ValueError, SyntaxError),
    *(EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error),
)
ORIENTATION: Final = 0x0112  # the EXIF tag; 1 is upright

_WARNINGS: Final = Lock()  # what is to be warned of is one setting for all threads

TRAILING: Final = "bytes behind the end of the image, which are left out"
TRANSPARENT: Final = "transparent pixels, whose colour is taken as stored"
TURNED: Final = "an EXIF orientation, which is left out: pixels are taken as stored, as torchvision does"
INKS: Final = "CMYK colours, converted without their profile, as torchvision does"


@dataclass(frozen=True)
class _Opened:
    """An image before its pixels are converted; `end` is where it ends in the file, `markers` are those of a JPEG."""

    data: bytes
    name: str
    image: Image.Image
    end: int
    markers: jpeg_markers.JpegMarkers | None = None


def decode(data: bytes, name: str, resize: int | None = None) -> Images:
    """One PNG or JPEG of somebody else as uint8 [H, W, 3].

    Args:
        data: the file's bytes.
        name: its name, for errors.
        resize: the side of the square it is resized to (bicubic, after conversion to RGB), or None.

    Raises DamagedError where it is not a readable PNG or JPEG, is cut, holds anything behind the image, has transparent
    pixels or more than 8 bits a channel, or a side is too long.
    """
    pixels, mask = decode_with_alpha(data, name, resize)
    if mask is not None:
        raise DamagedError(f"{name}: transparent pixels, which an image of a set cannot have", conversion(name))
    return pixels


def decode_with_alpha(data: bytes, name: str, resize: int | None = None) -> tuple[Images, NDArray[np.uint8] | None]:
    """As `decode`, and the opacity uint8 [H, W] where a pixel is not opaque, else None."""
    opened = _open(data, name, resize, ("PNG", "JPEG"))
    if opened.end != len(data):
        message = f"{name}: {len(data) - opened.end} bytes behind the end of the image"
        raise DamagedError(message, f"Save it again: {conversion(name)}")
    with _unreadable(name):
        pixels, alpha = _pixels(opened, strict=True)
        return _resized(pixels, resize), alpha if alpha is None or resize is None else _resized(alpha, resize)


def decode_own(data: bytes, name: str, resize: int | None = None) -> tuple[Images, tuple[int, int], tuple[str, ...]]:
    """One PNG, JPEG, WEBP or BMP of the user's own as uint8 [H, W, 3], its size before resizing, and what is odd.

    Raises DamagedError where it is of another format or several frames, is cut, has more than 8 bits a channel or inks
    of unknown meaning, or a side is too long; the remedy is a line that converts it, where one can.
    """
    opened = _open(data, name, resize, ("PNG", "JPEG", "WEBP", "BMP"))
    with _unreadable(name):
        pixels, alpha = _pixels(opened, strict=False)
        odd = {
            TRAILING: opened.end != len(data),
            TRANSPARENT: alpha is not None,
            TURNED: _is_turned(opened.image.info.get("exif", b"")),
            INKS: opened.image.mode == "CMYK",
        }
        remarks = tuple(remark for remark, holds in odd.items() if holds)
        return _resized(pixels, resize), (pixels.shape[0], pixels.shape[1]), remarks


def _is_turned(exif: bytes) -> bool:
    """Whether a camera was not held upright; EXIF data that cannot be read turn nothing.

    Pillow would load its reader of TIFF for this, which nothing else here is given.
    """
    data = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        first = 0 if order is None else struct.unpack_from(f"{order}I", data, 4)[0]
        count = 0 if order is None else struct.unpack_from(f"{order}H", data, first)[0]
        for place in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, place)
            if tag == ORIENTATION:
                return bool(kind == 3 and 2 <= value <= 8)  # 3: a number of 16 bits
    except struct.error:
        pass
    return False


def conversion(name: str) -> str:
    """The remedy for a file that has to be converted: a line that can be pasted.

    It converts all files of a suffix that is never read, beside them; one of a wrong suffix in its place.
    """
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix not in (*OWN_SUFFIXES, *OTHER_SUFFIXES):
        return "Convert it to an 8-bit RGB PNG"
    save = f"p = pathlib.Path({str(path)!r}); I.open(p).convert('RGB').save(p)"
    if suffix in OTHER_SUFFIXES:
        found = f"pathlib.Path({str(path.parent)!r}).rglob('*{path.suffix}')"
        save = f"[I.open(p).convert('RGB').save(p.with_suffix('.png')) for p in {found}]"
    return f"Type `python -c {shlex.quote(f'import pathlib, PIL.Image as I; {save}')}`"


@contextmanager
def _unreadable(name: str) -> Iterator[None]:
    """Raise a DamagedError for what a decoder raises in the block."""
    try:
        yield
    except UNREADABLE as error:
        raise DamagedError(f"{name}: not a readable image ({str(error)[:80]})") from error


def _open(data: bytes, name: str, resize: int | None, formats: tuple[str, ...]) -> _Opened:
    kind = _format(data)
    if kind not in formats:
        wanted = " or ".join(formats) if len(formats) == 2 else "PNG, JPEG, WEBP or BMP"
        raise DamagedError(f"{name}: not a readable {wanted} image ({kind or 'of another format'})", conversion(name))
    with _unreadable(name):
        if kind == "JPEG":
            markers = jpeg_markers.read_markers(data, name)
            _check_size(markers.width, markers.height, resize, name)
            image = Image.open(io.BytesIO(data), formats=[kind])
            return _Opened(data, name, _checked(image, name), markers.end, markers)
        with _WARNINGS, warnings.catch_warnings():
            # Pillow only warns of a decompression bomb.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=[kind])
        _check_size(*image.size, resize, name)
        if kind == "PNG":
            end = png_end(data, name)  # tells of 16 bits better than a mode does
            return _Opened(data, name, _checked(image, name), end)
        if getattr(image, "n_frames", 1) > 1:
            raise DamagedError(f"{name}: {getattr(image, 'n_frames', 1)} frames, one was expected", "Save one of them")
        return _Opened(data, name, _checked(image, name), _stated_end(data, kind, name))


def _stated_end(data: bytes, kind: str, name: str) -> int:
    """Where a WEBP or BMP says that it ends."""
    stated = int.from_bytes(data[4:8], "little") + 8 if kind == "WEBP" else int.from_bytes(data[2:6], "little")
    if stated > len(data):
        raise DamagedError(f"{name}: a {kind} of {stated} bytes of which {len(data)} are there: the file is cut")
    return stated or len(data)  # writers of BMP may leave it out


def _check_size(width: int, height: int, resize: int | None, name: str) -> None:
    limit = IMAGE_SIDE if resize is None else LARGEST_SOURCE
    if max(width, height) > limit:
        remedy = "Give --resize N" if resize is None else "Make it smaller"
        raise DamagedError(f"{name}: {width}x{height} pixels, at most {limit} a side are read", remedy)


def _format(data: bytes) -> str:
    """Pillow's name of the format that a file's first bytes tell, empty for none that is told here."""
    starts = {png.SIGNATURE: "PNG", jpeg_markers.FIRST: "JPEG", b"BM": "BMP", b"GIF8": "GIF"}
    starts |= {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WEBP" if data[8:12] == b"WEBP" else "RIFF"}
    starts |= {b"P" + digit: "PPM" for digit in (b"1", b"2", b"3", b"4", b"5", b"6")}
    found = next((kind for first, kind in starts.items() if data.startswith(first)), "")
    return found or ({b"heic": "HEIC", b"avif": "AVIF"}.get(data[8:12], "") if data[4:8] == b"ftyp" else "")


def _checked(image: Image.Image, name: str) -> Image.Image:
    if image.mode not in MODES:
        raise DamagedError(f"{name}: pixels of mode {image.mode}, 8 bits a channel were expected", EIGHT_BITS)
    if image.mode == "CMYK" and "adobe" not in image.info:
        message = f"{name}: CMYK colours without Adobe's mark, so nobody can tell ink from light"
        raise DamagedError(message, "Save it as RGB with a program that knows its profile")
    return image


def _pixels(opened: _Opened, *, strict: bool) -> tuple[Images, NDArray[np.uint8] | None]:
    """Pixels uint8 [H, W, 3], and opacity [H, W] where a pixel is not opaque.

    A JPEG is decoded twice where it may be cut.
    """
    image, alpha = opened.image, None
    if image.mode in ("P", "PA") and image.palette is not None:
        last = np.asarray(image)[..., 0] if image.mode == "PA" else np.asarray(image)
        if 3 * int(last.max()) >= len(image.palette.palette):
            raise DamagedError(f"{opened.name}: a pixel has a colour that the palette does not hold")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        alpha = None if (alpha == 255).all() else alpha
    pixels = np.asarray(image.convert("RGB"))
    markers = opened.markers
    doubtful = markers is not None and (strict or markers.progressive or jpeg_markers.looks_cut(pixels))
    if doubtful and markers is not None and not jpeg_markers.is_whole(opened.data, markers, pixels, _jpeg_pixels):
        raise DamagedError(f"{opened.name}: a JPEG that is cut: part of its pixels is not in the file")
    return pixels, alpha


def _jpeg_pixels(data: bytes) -> Images:
    return np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB"))


def _resized(pixels: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    if side is None or pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def resized(images: Images, side: int) -> Images:
    """Every image of uint8 [N, H, W, 3] resized to side x side (bicubic)."""
    if images.shape[1:3] == (side, side):
        return images
    result = np.empty((len(images), side, side, 3), np.uint8)
    for i, image in enumerate(images):
        result[i] = _resized(image, side)
    return result
