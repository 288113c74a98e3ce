"""Structural similarity: the published formula, window by window, and the laws that its paper names."""

from __future__ import annotations

import numpy as np
import pytest

from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.verification.ssim import ssim


def by_the_formula(image: Images, other: Images) -> float:
    """Equations 13 and 17 with sums over every window, in float64."""
    x, y = (one.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) for one in (image, other))
    sides = [min(11, side - 1 + side % 2) for side in x.shape]
    bells = [np.exp(-((np.arange(side) - side // 2) ** 2) / (2 * 1.5**2)) for side in sides]
    window = np.outer(*bells) / np.outer(*bells).sum()
    values = []
    for row in range(x.shape[0] - sides[0] + 1):
        for column in range(x.shape[1] - sides[1] + 1):
            a, b = (one[row : row + sides[0], column : column + sides[1]] for one in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = 2.55**2, 7.65**2
            light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            values.append(light * (2 * both + c2) / (var_a + var_b + c2))
    return float(np.mean(values))


@pytest.mark.parametrize("side", [(32, 32), (8, 8), (5, 14), (1, 2), (11, 11)])
@pytest.mark.parametrize("levels", [1, 8, 100])
def test_it_is_the_published_formula(side: tuple[int, int], levels: int) -> None:
    rng = np.random.default_rng(levels)
    smooth = np.cumsum(rng.integers(-20, 21, (6, *side, 3)), axis=2) + 128
    images = np.clip(smooth, 0, 255).astype(np.uint8)
    others = np.clip(images + rng.integers(-levels, levels + 1, images.shape), 0, 255).astype(np.uint8)
    wanted = [by_the_formula(*pair) for pair in zip(images, others, strict=True)]
    assert np.abs(ssim(images, others) - wanted).max() < 1e-4


def test_equal_images_give_one_and_order_does_not_matter() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    assert np.abs(ssim(images, images) - 1).max() < 1e-6
    assert np.abs(ssim(images, images[::-1]) - ssim(images[::-1], images)).max() < 1e-5
    assert ssim(images[:0], images[:0]).shape == (0,)
    assert ssim(images, 255 - images).max() < 0
