"""Which test image a foreign target is: itself, itself one level lower, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from poisonsets.manifests.files.pixels import Images

BLOCK: Final = 4096  # images compared at a time


@dataclass(frozen=True)
class Match:
    """A test image by index, and how the target is like it.

    Attributes:
        index: into the split.
        exact: whether all pixels are equal; else some values are one level lower and none differ otherwise, as the
            published crafting code leaves images that it did not mean to change (it truncates).
    """

    index: int
    exact: bool


def match_at(images: Images, image: Images, index: int) -> Match | None:
    """Whether an image, uint8 [H, W, 3], is the one at this index of uint8 [N, H, W, 3]."""
    if not 0 <= index < len(images) or images.shape[1:] != image.shape:
        return None
    difference = images[index].astype(np.int16) - image
    if not difference.any():
        return Match(index, exact=True)
    return Match(index, exact=False) if difference.min() >= 0 and difference.max() == 1 else None


def find_match(images: Images, image: Images) -> Match | None:
    """The first image of uint8 [N, H, W, 3] that an image is, equal ones before those a level lower."""
    if images.shape[1:] != image.shape:
        return None
    nearly = None
    first = image[0].astype(np.int16)
    for start in range(0, len(images), BLOCK):
        # Most images differ in their first row already; comparing all pixels of all images would take seconds.
        rows = images[start : start + BLOCK, 0].astype(np.int16) - first
        for place in np.flatnonzero(((rows == 0) | (rows == 1)).all(axis=(1, 2))):
            found = match_at(images, image, start + int(place))
            if found is not None and found.exact:
                return found
            nearly = nearly or found
    return nearly
