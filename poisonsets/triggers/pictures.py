"""Pictures of triggers, uint8 [h, w, 3]: read from a PNG, drawn from a seed, or of one colour."""

import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import png, store
from poisonsets.manifests.files.images import IMAGE_FILE_BYTES, conversion, decode_with_alpha
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.stream import Stream

PICTURE_PATH, MASK_PATH = "triggers/trigger.png", "triggers/mask.png"
COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
}


def read(path: str, height: int, width: int) -> tuple[Images, NDArray[np.bool_] | None, str]:
    """A PNG, as `resize` resizes it; where its alpha covers, bool [height, width]; its base name with its digest.

    A pixel is covered from half opacity on; the mask is None where all pixels are opaque. Links are followed.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is not a readable PNG, or holds anything behind its image.
        UsageError: its alpha covers no pixel.
    """
    name = Path(path).name.encode(errors="replace").decode()
    data = store.read_file(Path(path), IMAGE_FILE_BYTES, follow=True)
    if not data.startswith(png.SIGNATURE):
        raise DamagedError(f"{path}: not a PNG", conversion(path))
    picture, opacity = decode_with_alpha(data, path)
    name = f"{name}@sha256:{hashlib.sha256(data).hexdigest()}"
    if opacity is None:
        return resize(picture, height, width), None, name
    mask = resize(np.repeat(opacity[:, :, None], 3, axis=2), height, width)[:, :, 0] >= 128
    if not mask.any():
        raise UsageError(f"{path}: the picture is transparent all over", "Paint the trigger opaque")
    return resize(picture, height, width, opacity), mask, name


def read_opaque(path: str, height: int, width: int) -> tuple[Images, str]:
    """As `read`, for a picture that covers everything. Raises also UsageError where a pixel is transparent."""
    picture, mask, name = read(path, height, width)
    if mask is not None:
        message = f"{path}: it has transparent pixels, and this trigger covers the whole image"
        raise UsageError(message, "Save it without transparency, or use --trigger patch")
    return picture, name


def read_mask(path: str, height: int, width: int) -> tuple[NDArray[np.bool_], str]:
    """A PNG as a mask, bool [height, width]: True where it is opaque and nearer to white than to black.

    Raises as `read`, and UsageError if no pixel is.
    """
    picture, opaque, name = read(path, height, width)
    mask = picture.astype(np.int64).sum(2) > 3 * 127
    mask = mask if opaque is None else mask & opaque
    if not mask.any():
        raise UsageError(f"{path}: the mask covers no pixel", "Paint white where the trigger covers the image")
    return mask, name


def resize(picture: Images, height: int, width: int, opacity: NDArray[np.uint8] | None = None) -> Images:
    """Resize a picture, uint8 [h, w, 3], bilinearly with an antialiasing filter like Pillow's.

    Pixels count by their opacity, uint8 [h, w], so that no hidden colour shows at the edges.
    """
    if picture.shape[:2] == (height, width):
        return picture
    import torch
    import torch.nn.functional as F

    values = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].double()
    if opacity is not None:
        weights = torch.from_numpy(opacity.copy())[None, None].double()
        values = torch.cat([values * weights, weights], dim=1)
    values = F.interpolate(values, (height, width), mode="bilinear", antialias=True, align_corners=False)
    if opacity is not None:
        values = values[:, :3] / values[:, 3:].clamp(min=1e-9)
    return values[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def noise(height: int, width: int, seed: int) -> Images:
    """Independent, uniform colours drawn from the seed."""
    stream = Stream("trigger colours", seed)
    return np.array([stream.below(256) for _ in range(height * width * 3)], np.uint8).reshape(height, width, 3)


def plain(height: int, width: int, colour: str) -> Images:
    """A picture of one colour, a name or six hexadecimal digits RRGGBB. Raises UsageError for anything else."""
    if re.fullmatch("[0-9A-Fa-f]{6}", colour):
        value = tuple(bytes.fromhex(colour))
    elif colour in COLOURS:
        value = COLOURS[colour]
    else:
        raise UsageError(f"unknown colour {colour!r}", f"Write RRGGBB or one of {', '.join(COLOURS)}")
    return np.broadcast_to(np.array(value, dtype=np.uint8), (height, width, 3)).copy()
