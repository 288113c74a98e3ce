"""Triggers: one integer function stamps images for crafting, verifying and scoring.

Alphas, amplitudes and frequencies are exact decimals; results are rounded to nearest (ties up) and clipped to 0..255.
Truong et al. (2020), section 3: p = ((1 - alpha) x + alpha t) (1 - m) + x m, with m = 1 where the image stays as it
is. The paper does not mention clipping, which a sine needs since it is negative half of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.triggers import (
    BlendTrigger,
    ImageTrigger,
    PatchTrigger,
    RandomPlace,
    SineTrigger,
    TriggerRecord,
    picture_paths,
)
from poisonsets.manifests.records.unsupported import refuse_trigger
from poisonsets.manifests.stream import Stream


@dataclass(frozen=True)
class Trigger:
    """A trigger ready to be stamped: its record in the manifest, and the pictures of its kind.

    Attributes:
        image: uint8 [h, w, 3].
        mask: bool [h, w], True where a patch covers the image; None covers all of it.
    """

    record: TriggerRecord
    image: Images | None = None
    mask: NDArray[np.bool_] | None = None

    @classmethod
    def read(cls, record: TriggerRecord, picture: Callable[[str], Images]) -> Trigger:
        """A declared trigger; `picture` maps a path in its record to uint8 [h, w, 3], of which a mask uses red only."""
        image, mask = (*map(picture, picture_paths(record)), None, None)[:2]
        return cls(record, image, None if mask is None else mask[:, :, 0] > 0)

    def pictures(self) -> dict[str, Images]:
        """The pictures to store in the set, by path; a mask is white where the patch covers."""
        pictures = [] if self.image is None else [self.image]
        if self.mask is not None:
            pictures.append(np.repeat(self.mask[:, :, None].astype(np.uint8) * 255, 3, axis=2))
        return dict(zip(picture_paths(self.record), pictures, strict=True))


def stamp(image: Images, trigger: Trigger, image_id: str) -> Images:
    """A copy of an image uint8 [H, W, 3] with the trigger on, at a random place drawn for its id such as `train/17`.

    Raises:
        UsageError: the trigger does not fit the image.
        UnsupportedError: this version cannot stamp its kind.
    """
    record = trigger.record
    refuse_trigger(record, image_id)
    if isinstance(record, SineTrigger):
        return _mixed(image, _stripes(record, image.shape[1]), record.alpha)
    if isinstance(record, ImageTrigger):
        picture = _picture(trigger)
        if picture.shape != image.shape:
            raise UsageError(f"the trigger image is {_size(picture)}, the image is {_size(image)}")
        return _mixed(image, picture.astype(np.int64), record.alpha)
    row, column = place(trigger, image.shape[0], image.shape[1], image_id)
    picture = _picture(trigger)
    stamped = image.copy()
    region = stamped[row : row + picture.shape[0], column : column + picture.shape[1]]
    if isinstance(record, BlendTrigger):
        region[...] = _mixed(region, picture.astype(np.int64), record.alpha)
    else:
        covered = _covered(trigger)
        region[covered] = picture[covered]
    return stamped


def train_id(index: int) -> str:
    """The id of a training image, which determines its trigger's random place."""
    return f"train/{index}"


def stamp_all(images: Images, trigger: Trigger, ids: Sequence[str]) -> Images:
    """`stamp` for each of uint8 [N, H, W, 3]; raises as it."""
    stamped = [stamp(image, trigger, image_id) for image, image_id in zip(images, ids, strict=True)]
    return np.stack(stamped) if stamped else images.copy()


def place(trigger: Trigger, height: int, width: int, image_id: str) -> tuple[int, int]:
    """Row and column of the trigger's top-left pixel in this image.

    Raises:
        UsageError: the trigger has no place (it covers the image) or does not fit there.
    """
    record = trigger.record
    if not isinstance(record, PatchTrigger | BlendTrigger):
        raise UsageError(f"a trigger of kind {record.kind} has no place: it covers the whole image")
    rows, columns = _picture(trigger).shape[:2]
    if rows > height or columns > width:
        raise UsageError(f"the trigger is {rows}x{columns}, the image {height}x{width}")
    if isinstance(record.place, RandomPlace):
        stream = Stream("place", record.place.seed, image_id)
        return stream.below(height - rows + 1), stream.below(width - columns + 1)
    row, column = record.place.row, record.place.column
    if row + rows > height or column + columns > width:
        raise UsageError(
            f"the {rows}x{columns} trigger at row {row}, column {column} leaves the {height}x{width} image"
        )
    return row, column


def footprint(trigger: Trigger, height: int, width: int, image_id: str) -> NDArray[np.bool_]:
    """bool [H, W]: the pixels that the trigger may change in this image."""
    covered = np.ones((height, width), dtype=np.bool_)
    if isinstance(trigger.record, PatchTrigger | BlendTrigger):
        row, column = place(trigger, height, width, image_id)
        rows, columns = _picture(trigger).shape[:2]
        covered[:] = False
        covered[row : row + rows, column : column + columns] = _covered(trigger)
    return covered


def _picture(trigger: Trigger) -> Images:
    if trigger.image is None:
        raise UsageError(f"a trigger of kind {trigger.record.kind} needs an image")
    return trigger.image


def _covered(trigger: Trigger) -> NDArray[np.bool_]:
    """bool [h, w]: the pixels of the picture that the trigger uses."""
    side = _picture(trigger).shape[:2]
    if trigger.mask is None:
        return np.ones(side, dtype=np.bool_)
    if trigger.mask.shape != side:
        raise UsageError(f"the trigger's mask is {_size(trigger.mask)}, its picture {side[0]}x{side[1]}")
    return trigger.mask


def _stripes(record: SineTrigger, width: int) -> NDArray[np.int64]:
    """int64 [1, W, 1] levels, negative in the valleys; `frequency` counts cycles over the image's width."""
    amplitude, frequency = float(record.amplitude), float(record.frequency)
    levels = [math.floor(255 * amplitude * math.sin(2 * math.pi * frequency * j / width) + 0.5) for j in range(width)]
    return np.array(levels, dtype=np.int64)[None, :, None]


def _mixed(image: Images, over: NDArray[np.int64], alpha: str) -> Images:
    """(1 - alpha) image + alpha over in exact rational arithmetic, rounded half up, clipped."""
    a, b = Fraction(alpha).as_integer_ratio()
    mixed = (2 * ((b - a) * image.astype(np.int64) + a * over) + b) // (2 * b)
    return np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)


def _size(image: NDArray[Any]) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"
