"""Find the test image that a foreign target shows, exactly or with values one level lower."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from poisonsets.manifests.files.pixels import Images

BLOCK: Final = 4096  # images compared at a time


@dataclass(frozen=True)
class Match:
    """The index of a test image, and whether all pixels are equal.

    If not, some values are one level lower: published crafting code truncates images that it means to leave alone.
    """

    index: int
    exact: bool


def match_at(images: Images, image: Images, index: int) -> Match | None:
    """Match an image uint8 [H, W, 3] with the one at this index of uint8 [N, H, W, 3]."""
    if not 0 <= index < len(images) or images.shape[1:] != image.shape:
        return None
    difference = images[index].astype(np.int16) - image
    if not difference.any():
        return Match(index, exact=True)
    return Match(index, exact=False) if difference.min() >= 0 and difference.max() == 1 else None


def find_match(images: Images, image: Images) -> Match | None:
    """The first match of an image uint8 [H, W, 3] in uint8 [N, H, W, 3]; exact matches come first."""
    if images.shape[1:] != image.shape:
        return None
    nearly = None
    first = image[0].astype(np.int16)
    for start in range(0, len(images), BLOCK):
        # Most images differ in their first row; comparing all pixels of all images would take seconds.
        rows = images[start : start + BLOCK, 0].astype(np.int16) - first
        for place in np.flatnonzero(((rows == 0) | (rows == 1)).all(axis=(1, 2))):
            found = match_at(images, image, start + int(place))
            if found is not None and found.exact:
                return found
            nearly = nearly or found
    return nearly
