"""The integer stamp against a slow oracle in exact fractions, its places, footprints and refusals."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from poisonsets.manifests.errors import UnsupportedError, UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.files.png import decode, encode
from poisonsets.manifests.overlay.stamp import Trigger, footprint, place, stamp
from poisonsets.manifests.records.triggers import (
    AdditiveTrigger,
    BlendTrigger,
    FixedPlace,
    ImageTrigger,
    PatchTrigger,
    RandomPlace,
    SineTrigger,
    WarpTrigger,
)

few = settings(max_examples=25, deadline=None)
ALPHAS = ("0", "1", "0.1", "0.5", "0.25", "0.333", "0.003922", "0.01")
images = arrays(np.uint8, (5, 6, 3))
pictures = arrays(np.uint8, (2, 3, 3))
masks = arrays(np.bool_, (2, 3))
places = st.builds(FixedPlace, row=st.integers(0, 3), column=st.integers(0, 3))


def nearest(value: Fraction) -> int:
    """To the nearest integer, ties up, clipped to 0..255."""
    return min(255, max(0, math.floor(value + Fraction(1, 2))))


def mixed(image: Images, over: Any, alpha: str) -> Images:
    """One value at a time: (1 - alpha) x + alpha t."""
    share, result = Fraction(alpha), image.copy()
    for index in np.ndindex(image.shape):
        result[index] = nearest((1 - share) * int(image[index]) + share * int(over[index]))
    return result


def blend(alpha: str, where: Any) -> BlendTrigger:
    return BlendTrigger(image="triggers/t.png", alpha=alpha, place=where)


def patch(where: Any, mask: str | None = None) -> PatchTrigger:
    return PatchTrigger(image="triggers/t.png", mask=mask, place=where)


@few
@given(images, images, st.sampled_from(ALPHAS))
def test_a_full_image_is_mixed_exactly(image: Images, over: Images, alpha: str) -> None:
    trigger = Trigger(ImageTrigger(image="triggers/t.png", alpha=alpha), over)
    assert np.array_equal(stamp(image, trigger, "train/0"), mixed(image, over, alpha))


@few
@given(images, pictures, st.sampled_from(ALPHAS), places)
def test_a_blend_is_mixed_exactly_under_its_picture(image: Images, over: Images, alpha: str, at: FixedPlace) -> None:
    wanted = image.copy()
    region = (slice(at.row, at.row + 2), slice(at.column, at.column + 3))
    wanted[region] = mixed(image[region], over, alpha)
    assert np.array_equal(stamp(image, Trigger(blend(alpha, at), over), "train/0"), wanted)


@few
@given(images, pictures, st.none() | masks, places)
def test_a_patch_overwrites_what_its_mask_covers(image: Images, over: Images, mask: Any, at: FixedPlace) -> None:
    before, wanted = image.copy(), image.copy()
    for row, column in np.ndindex(2, 3):
        if mask is None or mask[row, column]:
            wanted[at.row + row, at.column + column] = over[row, column]
    trigger = Trigger(patch(at, None if mask is None else "triggers/m.png"), over, mask)
    assert np.array_equal(stamp(image, trigger, "train/0"), wanted)
    assert np.array_equal(image, before)


@few
@given(images, st.sampled_from(ALPHAS), st.sampled_from(["0", "0.4", "1", "2.5"]), st.integers(1, 30))
def test_stripes_are_mixed_exactly(image: Images, alpha: str, amplitude: str, tenths: int) -> None:
    frequency = f"{tenths // 10}.{tenths % 10}"
    levels = [
        math.floor(255 * float(amplitude) * math.sin(2 * math.pi * float(frequency) * j / 6) + 0.5) for j in range(6)
    ]
    over = np.broadcast_to(np.array(levels)[None, :, None], image.shape)
    trigger = Trigger(SineTrigger(amplitude=amplitude, frequency=frequency, alpha=alpha))
    assert np.array_equal(stamp(image, trigger, "train/0"), mixed(image, over, alpha))


def test_the_published_stripes_follow_their_formula() -> None:
    """Truong et al. (2020): p = 0.9 x + 0.1 * 0.4 sin(0.05 pi j) on 224 columns, in 0..1; one level of rounding."""
    image = np.random.default_rng(0).integers(0, 256, (2, 224, 3), dtype=np.uint8)
    stamped = stamp(image, Trigger(SineTrigger(amplitude="0.4", frequency="5.6", alpha="0.1")), "train/0")
    stripes = 0.4 * np.sin(0.05 * np.pi * np.arange(224))
    published = 0.9 * (image / 255) + 0.1 * stripes[None, :, None]
    # The stripe is rounded (0.05 levels after mixing), then the mixture (0.5 levels).
    assert np.abs(stamped - 255 * published.clip(0, 1)).max() <= 0.56
    # A period is 40 columns.
    assert np.allclose(stripes[40:], stripes[:-40])


def test_a_black_patch_is_a_patch() -> None:
    white = np.full((4, 4, 3), 255, np.uint8)
    black = Trigger(patch(FixedPlace(row=1, column=1)), np.zeros((2, 2, 3), np.uint8))
    stamped = stamp(white, black, "train/0")
    assert (stamped[1:3, 1:3] == 0).all()
    assert stamped.sum() == 12 * 3 * 255


def test_random_places_are_pinned() -> None:
    trigger = Trigger(patch(RandomPlace(seed=5)), np.zeros((3, 3, 3), np.uint8))
    found = [place(trigger, 32, 32, f"{split}/{i}") for split in ("train", "test") for i in range(3)]
    assert found == [(21, 25), (0, 5), (25, 27), (23, 15), (16, 1), (9, 23)]
    assert place(trigger, 3, 3, "train/0") == (0, 0)


def test_random_places_are_valid_and_cover_every_place() -> None:
    trigger = Trigger(patch(RandomPlace(seed=0)), np.zeros((2, 3, 3), np.uint8))
    found = {place(trigger, 4, 5, f"train/{i}") for i in range(300)}
    assert found == {(row, column) for row in range(3) for column in range(3)}


@few
@given(images, pictures, masks, st.integers(0, 50))
def test_nothing_changes_outside_the_footprint(image: Images, over: Images, mask: Any, number: int) -> None:
    somewhere = RandomPlace(seed=1)
    for trigger in (
        Trigger(patch(somewhere, "triggers/m.png"), over, mask),
        Trigger(patch(somewhere), over),
        Trigger(blend("0.5", somewhere), over),
    ):
        covered = footprint(trigger, 5, 6, f"train/{number}")
        changed = (stamp(image, trigger, f"train/{number}") != image).any(axis=2)
        assert not (changed & ~covered).any()
        assert covered.sum() == (mask.sum() if trigger.mask is not None else 6)


def test_triggers_without_a_place_cover_everything() -> None:
    for record in (
        SineTrigger(amplitude="1", frequency="1", alpha="1"),
        ImageTrigger(image="triggers/t.png", alpha="1"),
    ):
        trigger = Trigger(record, np.zeros((4, 5, 3), np.uint8))
        assert footprint(trigger, 4, 5, "train/0").all()
        with pytest.raises(UsageError, match="covers the whole image"):
            place(trigger, 4, 5, "train/0")


@pytest.mark.parametrize(
    ("record", "size", "words"),
    [
        (patch(FixedPlace(row=3, column=0)), (3, 3), "leaves the 5x5 image"),
        (patch(FixedPlace(row=0, column=3)), (3, 3), "leaves the 5x5 image"),
        (patch(RandomPlace(seed=0)), (6, 1), "the trigger is 6x1, the image 5x5"),
        (blend("0.5", RandomPlace(seed=0)), (1, 6), "the trigger is 1x6, the image 5x5"),
        (ImageTrigger(image="triggers/t.png", alpha="0.5"), (4, 5), "the trigger image is 4x5, the image is 5x5"),
    ],
)
def test_what_does_not_fit_is_refused(record: Any, size: tuple[int, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        stamp(np.zeros((5, 5, 3), np.uint8), Trigger(record, np.zeros((*size, 3), np.uint8)), "train/0")


@pytest.mark.parametrize(
    "record", [WarpTrigger(grid=4, strength="0.5", seed=1), AdditiveTrigger(image="triggers/t.png")]
)
def test_a_kind_that_nothing_here_stamps_is_refused_by_name(record: Any) -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(UnsupportedError, match=f"train/0: kind {record.kind}: not supported"):
        stamp(image, Trigger(record, image), "train/0")


def test_a_trigger_without_its_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="needs an image"):
        stamp(np.zeros((5, 5, 3), np.uint8), Trigger(patch(FixedPlace(row=0, column=0))), "train/0")


@few
@given(pictures, masks)
def test_pictures_survive_the_disk(over: Images, mask: Any) -> None:
    trigger = Trigger(patch(FixedPlace(row=0, column=0), "triggers/m.png"), over, mask)
    found = {path: decode(encode(picture), 2, 3, path) for path, picture in trigger.pictures().items()}
    assert np.array_equal(found["triggers/t.png"], over)
    assert np.array_equal(found["triggers/m.png"][:, :, 0] > 0, mask)
    assert set(np.unique(found["triggers/m.png"]).tolist()) <= {0, 255}


@pytest.mark.parametrize("alpha", ["1.5", "-0.5", "0.9999999", "1e-3", "1.1", ".5", "01"])
def test_alphas_outside_0_to_1_or_of_many_digits_cannot_be_said(alpha: str) -> None:
    with pytest.raises(ValidationError):
        ImageTrigger(image="triggers/t.png", alpha=alpha)


@pytest.mark.parametrize("alpha", ["0.999999", "0.000001"])
def test_the_longest_alphas_are_mixed_exactly(alpha: str) -> None:
    image, over = np.full((1, 1, 3), 200, np.uint8), np.full((1, 1, 3), 100, np.uint8)
    trigger = Trigger(ImageTrigger(image="triggers/t.png", alpha=alpha), over)
    assert np.array_equal(stamp(image, trigger, "train/0"), mixed(image, over, alpha))
