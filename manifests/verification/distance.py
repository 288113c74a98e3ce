"""Exact distances between images in whole levels, block by block so that every pass stays in the cache."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.files.pixels import Images

Ids = NDArray[np.int64]
BLOCK_BYTES: Final = 384 << 10
EXACT_SQUARES: Final = 256
"""Squares of levels per float32 sum: 256 x 255^2 is below 2^24, so the sum is exact in any order."""


def pixel_differences(images: Images, rows: Ids, others: Images, ids: Ids) -> Iterator[tuple[slice, Images]]:
    """|images[rows] - others[ids]| as blocks (pairs, uint8 [B, H, W, 3]); each overwrites the one before.

    Args:
        images, others: uint8 [N, H, W, 3] and uint8 [M, H, W, 3].
        rows, ids: int64 [P], in 0..N-1 and 0..M-1.
    """
    size = max(1, BLOCK_BYTES // max(1, images[:1].nbytes))
    low, high = np.empty((2, size, *others.shape[1:]), dtype=np.uint8)
    for start in range(0, len(rows), size):
        some = slice(start, min(start + size, len(rows)))
        smaller, larger = low[: some.stop - start], high[: some.stop - start]
        first, second = _taken(images, rows[some], larger), _taken(others, ids[some], smaller)
        if first is larger:  # it would be overwritten while it is read
            first = first.copy()
        np.maximum(first, second, out=larger)
        np.minimum(first, second, out=smaller)
        np.subtract(larger, smaller, out=larger)  # in this order uint8 cannot wrap
        yield some, larger


def largest(differences: Images) -> NDArray[np.uint8]:
    """Each image's largest difference, uint8 [B], of uint8 [B, H, W, 3]."""
    found: NDArray[np.uint8] = differences.reshape(len(differences), -1).max(axis=1)
    return found


def squared(differences: Images) -> NDArray[np.int64]:
    """Each image's exact sum of squared differences, int64 [B], of uint8 [B, H, W, 3]."""
    flat = differences.reshape(len(differences), -1)
    parts = -(-flat.shape[1] // EXACT_SQUARES)
    wide = np.empty((len(flat), parts * EXACT_SQUARES), dtype=np.float32)
    wide[:, : flat.shape[1]] = flat
    wide[:, flat.shape[1] :] = 0
    cut = wide.reshape(len(flat), parts, EXACT_SQUARES)
    found: NDArray[np.int64] = np.vecdot(cut, cut).astype(np.int64).sum(axis=1)
    return found


def _taken(images: Images, ids: Ids, buffer: Images) -> Images:
    """images[ids]: a view where the ids are consecutive, else a copy in the buffer."""
    first, count = int(ids[0]), len(ids)
    if int(ids[-1]) - first == count - 1 and bool((np.diff(ids) == 1).all()):
        return images[first : first + count]
    # Any other mode makes numpy copy twice.
    return np.take(images, ids, axis=0, out=buffer, mode="clip")
