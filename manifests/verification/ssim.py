"""Structural similarity of pairs of images, as Wang et al. (2004) define it for grey images."""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.files.pixels import Images

WINDOW: Final = 11
SIGMA: Final = 1.5
C1: Final = (0.01 * 255) ** 2
C2: Final = (0.03 * 255) ** 2
LUMA: Final = (0.299, 0.587, 0.114)
_BLOCK_BYTES: Final = 192 << 10


def ssim(images: Images, others: Images) -> NDArray[np.float64]:
    """The mean structural similarity of each pair of uint8 [N, H, W, 3]: float64 [N] in -1..1, 1 for equal images.

    Wang, Bovik, Sheikh and Simoncelli (2004), "Image Quality Assessment: From Error Visibility to Structural
    Similarity", equation 13 averaged over all positions of an 11x11 Gaussian window of sigma 1.5 inside the image
    (equation 17), with K1 = 0.01, K2 = 0.03, L = 255 and alpha = beta = gamma = 1. Images are first converted to grey
    with the luma weights of ITU-R BT.601, so a change of hue alone does not show. What differs: an image smaller than
    the window gets the largest odd window that fits, and large images are not downsampled. Computed in float32, with
    an error below 0.0001.
    """
    size = max(1, _BLOCK_BYTES // max(1, images[:1].nbytes))
    starts = range(0, len(images), size)
    parts = [_some(images[start : start + size], others[start : start + size]) for start in starts]
    return np.concatenate(parts) if parts else np.zeros(0)


def _some(images: Images, others: Images) -> NDArray[np.float64]:
    weights = np.array(LUMA, dtype=np.float32)
    # Shifting the values keeps variances and loses fewer digits in the squares.
    x, y = (batch.astype(np.float32) @ weights - 128 for batch in (images, others))
    mean_x, mean_y, squares, products = _blurred(np.stack([x, y, x * x + y * y, x * y]))
    variances = squares - mean_x * mean_x - mean_y * mean_y
    covariance = products - mean_x * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    light = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    every = light * (2 * covariance + C2) / (variances + C2)
    found: NDArray[np.float64] = every.mean(axis=(1, 2), dtype=np.float64)
    return found


def _blurred(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """[K, N, H, W] to [K, N, H-w+1, W-w+1]: the weighted mean at every window position, as two matrix products."""
    down, across = _windows(planes.shape[2]), _windows(planes.shape[3])
    found: NDArray[np.float32] = down @ (planes @ across.T)
    return found


@cache
def _windows(side: int) -> NDArray[np.float32]:
    """float32 [positions, side]: the window at each position along one axis."""
    width = min(WINDOW, side - 1 + side % 2)
    bell = np.exp(-((np.arange(width) - width // 2) ** 2) / (2 * SIGMA**2))
    places = np.zeros((side - width + 1, side), dtype=np.float32)
    for place in range(len(places)):
        places[place, place : place + width] = bell / bell.sum()
    return places
