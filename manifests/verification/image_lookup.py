"""Look up images that are equal pixel for pixel, by a checksum first."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.files.pixels import Images


class ImageLookup:
    """Images uint8 [N, H, W, 3], kept without a copy, to look others up in."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.sums = _sums(images)

    @cached_property
    def _sorted_sums(self) -> NDArray[np.uint64]:
        return np.sort(self.sums)

    def find(self, image: Images) -> list[int]:
        """The indices of all images equal to this one, uint8 [H, W, 3], ascending."""
        # Equal images have equal sums; different images with equal sums cost time, not correctness.
        maybe = np.flatnonzero(self.sums == _sums(image[None])[0])
        found: list[int] = maybe[[np.array_equal(self.images[one], image) for one in maybe]].tolist()
        return found

    def shared(self, others: ImageLookup) -> dict[int, int]:
        """The index of every other image that is here too, with the first index it has here."""
        if not len(self.images):
            return {}
        place = np.searchsorted(self._sorted_sums, others.sums)
        maybe = self._sorted_sums[np.minimum(place, len(self.sums) - 1)] == others.sums
        pairs = ((int(one), self.find(others.images[one])) for one in np.flatnonzero(maybe))
        return {one: found[0] for one, found in pairs if found}

    def repeated(self) -> dict[int, int]:
        """The index of every image that repeats an earlier one, with the index of the first."""
        _, group, sizes = np.unique(self.sums, return_inverse=True, return_counts=True)
        firsts: dict[bytes, int] = {}
        found = {}
        for index in np.flatnonzero(sizes[group.reshape(-1)] > 1):
            first = firsts.setdefault(self.images[index].tobytes(), int(index))
            if first != index:
                found[int(index)] = first
        return found


def _sums(images: Images) -> NDArray[np.uint64]:
    """uint64 [N]: each image's sum modulo 2^64, over 8-byte words if its size is a multiple of 8, else over bytes."""
    flat = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    words = flat.view(np.uint64) if flat.shape[1] % 8 == 0 else flat
    found: NDArray[np.uint64] = words.sum(axis=1, dtype=np.uint64)
    return found
