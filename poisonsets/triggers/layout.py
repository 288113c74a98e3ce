"""Where a trigger goes and how large it is: places as typed, and sizes published for images of 224 pixels."""

import re
from decimal import Decimal
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.triggers import BlendTrigger, FixedPlace, PatchTrigger, Place, RandomPlace
from poisonsets.manifests.stream import Stream
from poisonsets.triggers.pictures import MASK_PATH, PICTURE_PATH

Geometry: TypeAlias = Literal["relative", "literal", "at224"]
PUBLISHED_SIDE = 224  # pixels; the images of Truong et al.


def require_224(owner: str, geometry: Geometry, height: int, width: int) -> None:
    """Raise UsageError for `at224` on images of another size."""
    if geometry == "at224" and (height, width) != (PUBLISHED_SIDE, PUBLISHED_SIDE):
        raise UsageError(
            f"trigger {owner}: geometry=at224 wants images of 224x224 pixels, the base has {height}x{width}",
            "Add the base again with --resize 224, or take geometry=relative",
        )


def parse_place(text: str, *, size: int, margin: int, height: int, width: int, seed: int) -> Place:
    """Parse a place as typed.

    Args:
        text: `bottom-right`, `ROW:COLUMN` of the top-left pixel, or `random` (drawn anew for each image).
        size: side of the trigger in pixels.
        margin: pixels between a `bottom-right` trigger and both edges.
        height, width: of the images.
        seed: of random places.

    Raises:
        UsageError: text of another form, or a place that starts outside the image.
    """
    if text == "random":
        return RandomPlace(seed=Stream("trigger places", seed).below(1 << 53))
    if text == "bottom-right":
        row, column = height - size - margin, width - size - margin
    elif fixed := re.fullmatch("([0-9]{1,5}):([0-9]{1,5})", text):
        row, column = int(fixed[1]), int(fixed[2])
    else:
        raise UsageError(f"trigger place {text!r}", "Write bottom-right, ROW:COLUMN or random")
    if row < 0 or column < 0:
        raise UsageError(
            f"a trigger of {size} pixels {margin} from the corner leaves the {height}x{width} image",
            "Choose a smaller size or margin",
        )
    return FixedPlace(row=row, column=column)


def lay_trigger(picture: Images, place: Place, alpha: float, mask: NDArray[np.bool_] | None = None) -> Trigger:
    """A picture at a place, which overwrites the pixels or, with alpha below 1, is mixed into them.

    Raises UsageError for a mask with an alpha below 1, or an alpha with more than six decimals.
    """
    if alpha == 1:
        mask_path = None if mask is None else MASK_PATH
        return Trigger(PatchTrigger(image=PICTURE_PATH, mask=mask_path, place=place), picture, mask)
    if mask is not None:
        raise UsageError("a trigger with a mask and an alpha below 1", "Drop one of the two")
    return Trigger(BlendTrigger(image=PICTURE_PATH, alpha=six_decimals("alpha", alpha), place=place), picture)


def six_decimals(name: str, value: float) -> str:
    """A number from 0 to 9999 as a plain decimal string. Raises UsageError beyond a manifest's six decimals."""
    exact = Decimal(repr(value))
    if exact != exact.quantize(Decimal("0.000001")):
        raise UsageError(f"trigger {name}={value!r}: more than six decimals", "Round it")
    text = f"{exact:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
