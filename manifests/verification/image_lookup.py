"""Which of many images are equal to a given one, pixel for pixel, without comparing every pixel every time."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.files.pixels import Images


class ImageLookup:
    """Images that are asked again and again whether a given one is among them.

    Args:
        images: uint8 [N, H, W, 3]; they are kept, not copied.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self.sums = _sums(images)

    @cached_property
    def _sorted_sums(self) -> NDArray[np.uint64]:
        return np.sort(self.sums)

    def find(self, image: Images) -> list[int]:
        """The indices of all images equal to this one, uint8 [H, W, 3], ascending."""
        # Equal images have equal sums; others that have cost time, and no wrong answer.
        maybe = np.flatnonzero(self.sums == _sums(image[None])[0])
        found: list[int] = maybe[[np.array_equal(self.images[one], image) for one in maybe]].tolist()
        return found

    def shared(self, others: ImageLookup) -> dict[int, int]:
        """For every one of the others that is here too, its index there and the first one here."""
        if not len(self.images):
            return {}
        place = np.searchsorted(self._sorted_sums, others.sums)
        maybe = self._sorted_sums[np.minimum(place, len(self.sums) - 1)] == others.sums
        pairs = ((int(one), self.find(others.images[one])) for one in np.flatnonzero(maybe))
        return {one: found[0] for one, found in pairs if found}

    def repeated(self) -> dict[int, int]:
        """For every image that stands here before, its index and that of the first one like it."""
        _, group, sizes = np.unique(self.sums, return_inverse=True, return_counts=True)
        firsts: dict[bytes, int] = {}
        found = {}
        for index in np.flatnonzero(sizes[group.reshape(-1)] > 1):
            first = firsts.setdefault(self.images[index].tobytes(), int(index))
            if first != index:
                found[int(index)] = first
        return found


def _sums(images: Images) -> NDArray[np.uint64]:
    """uint64 [N]: the sum, modulo 2^64, of each image's bytes read as words of eight where that divides them."""
    flat = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    words = flat.view(np.uint64) if flat.shape[1] % 8 == 0 else flat
    found: NDArray[np.uint64] = words.sum(axis=1, dtype=np.uint64)
    return found
