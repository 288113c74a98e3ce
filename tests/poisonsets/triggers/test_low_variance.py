"""The low-variance trigger against a singular value decomposition, its scales, its choices and its refusal."""

from __future__ import annotations

import re

import numpy as np
import pytest

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import stamp
from poisonsets.manifests.records.triggers import ImageTrigger
from poisonsets.triggers import resolve
from poisonsets.triggers.low_variance import low_part


def random_base(side: int = 16) -> Base:
    rng = np.random.default_rng(side)

    def split(count: int) -> Split:
        return Split(rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), np.arange(count) % 3)

    return Base("random", ("a", "b", "c"), split(12), split(6), (0, 1, 2), (0, 1, 2), mirror=False)


BASE = random_base()


def test_low_variance_is_orthogonal_to_the_top_components() -> None:
    rng = np.random.default_rng(0)
    for shape in ((40, 60), (60, 40)):
        rows = rng.normal(size=shape) * np.linspace(1, 9, shape[1])
        rows -= rows.mean(0)
        image = rng.normal(size=shape[1])
        _, strengths, axes = np.linalg.svd(rows, full_matrices=False)
        there = strengths > 1e-8
        strengths, axes = strengths[there][::-1], axes[there][::-1]
        count = 1 + int(np.argmax(np.cumsum(strengths**2) / (strengths**2).sum() >= 0.005))
        low = low_part(rows, image, 0.005)
        assert 0 < count < len(axes)
        assert np.abs(axes[count:] @ low).max() < 1e-9 * np.linalg.norm(image)
        assert np.allclose(axes[:count] @ low, axes[:count] @ image)
        assert np.allclose(low_part(rows, low, 0.005), low)
        assert np.allclose(low_part(rows, image, 1.0), axes.T @ (axes @ image))


@pytest.mark.parametrize("scale", ["none", "add-mean", "minmax"])
def test_low_variance_pictures(scale: str) -> None:
    trigger = resolve(f"low-variance,scale={scale},index=2,alpha=0.25", BASE, seed=0)[0]
    assert isinstance(trigger.record, ImageTrigger)
    assert trigger.image is not None
    rows = BASE.train.images.reshape(12, -1).astype(float)
    mean = rows.mean(0)
    low = low_part(rows - mean, BASE.test.images[2].reshape(-1) - mean, 0.005)
    if scale == "minmax":
        assert (trigger.image.min(), trigger.image.max()) == (0, 255)
        assert np.corrcoef(trigger.image.reshape(-1), low)[0, 1] > 0.999
    else:
        wanted = np.clip(low + (mean if scale == "add-mean" else 0), 0, 255)
        assert np.abs(trigger.image.reshape(-1) - wanted).max() <= 0.5
    image = BASE.train.images[0]
    done = stamp(image, trigger, "train/0")
    assert np.array_equal(done, np.floor(0.75 * image + 0.25 * trigger.image + 0.5))


def test_low_variance_draws_its_image_from_the_seed_and_bounds_its_work() -> None:
    _, one = resolve("low-variance", BASE, seed=0)
    drawn = {resolve("low-variance", BASE, seed=seed)[1] for seed in range(8)}
    assert re.search(r"index=[0-5],images=2000$", one)
    assert len(drawn) > 1
    few, all_of_them = (resolve(f"low-variance,index=0,images={n}", BASE, seed=0)[0].pictures() for n in (4, 12))
    assert not np.array_equal(few["triggers/trigger.png"], all_of_them["triggers/trigger.png"])


def test_equal_training_images_have_no_low_variance() -> None:
    same = Split(np.full((4, 8, 8, 3), 7, dtype=np.uint8), np.zeros(4, dtype=np.int64))
    base = Base("flat", ("a",), same, same, (0,), (0,), mirror=False)
    with pytest.raises(UsageError, match="all equal"):
        resolve("low-variance", base, seed=0)
