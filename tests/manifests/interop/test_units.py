"""Units are found out where only one is possible, asked for elsewhere, and mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.interop import units

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


def as_unit(images: np.ndarray, unit: units.Unit) -> np.ndarray:
    return (images - np.array(unit.zero)) / np.array(unit.scale)


EVERY = ["0-255", "0-1", *(f"normalised:{name}" for name in units.CONSTANTS), "normalised:0.5,0.5,0.5/0.25,0.25,1"]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_come_back_from_every_unit(name: str, dtype: type[np.floating]) -> None:
    unit = units.parse_unit(name)
    found, hints = units.levels_in(as_unit(IMAGES, unit).astype(dtype), unit, None)
    assert np.array_equal(found, IMAGES)
    assert hints == ()


@pytest.mark.parametrize("name", EVERY)
def test_differences_come_back_from_every_unit(name: str) -> None:
    unit = units.parse_unit(name)
    moved = np.clip(IMAGES.astype(int) + RNG.integers(-8, 9, IMAGES.shape), 0, 255)
    delta = ((moved - IMAGES) / np.array(unit.scale)).astype(np.float32)
    found, hints = units.levels_in(delta, unit, IMAGES)
    assert np.array_equal(found, moved)
    assert hints == ()


@settings(deadline=None, max_examples=100)
@given(st.floats(-5, 260))
def test_a_value_is_rounded_to_nearest_and_clipped(value: float) -> None:
    found, hints = units.levels_in(np.full((1, 1, 1, 3), value), units.LEVELS, None)
    wanted = min(max(int(np.floor(value + 0.5)), 0), 255)
    assert (found == wanted).all()
    assert any("clipped" in hint.message for hint in hints) == (not 0 <= np.floor(value + 0.5) <= 255)


FOUND = {
    "uint8": (IMAGES, False, "0-255"),
    "int64": (IMAGES.astype(np.int64), False, "0-255"),
    "float levels": (IMAGES.astype(np.float64), False, "0-255"),
    "shares": ((IMAGES / 255).astype(np.float32), False, "0-1"),
    "whole differences": (np.array([[[[-8, 3, 0]]]], dtype=np.float32), True, "0-255"),
    "signed integers": (np.array([[[[-1, 1, 0]]]], dtype=np.int8), True, "0-255"),
    "shares of whole levels": (np.array([[[[-8, 3, 1]]]], dtype=np.float32) / 255, True, "0-1"),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_unit_is_found_out(name: str) -> None:
    values, adds, wanted = FOUND[name]
    assert units.infer_unit(values, adds=adds, where="x").name == wanted


OPEN = {
    "normalised": (as_unit(IMAGES, units.parse_unit("normalised:cifar10")), False),
    "zeros and ones": (np.array([[[[0.0, 1.0, 1.0]]]]), False),
    "zeros and ones in integers": (np.array([[[[0, 1, 1]]]], dtype=np.int64), False),
    "dark": (np.array([[[[0.0, 1.5, 7.0]]]]), False),
    "bright": (IMAGES * 2.0, False),
    "parts of a level": (np.array([[[[0.031, -0.0123, 0.002]]]]), True),
    "normalised differences": (np.array([[[[0.155, -0.155, 0.1]]]]), True),
    "large": (np.array([[[[1.7, -0.4, 0.1]]]]), True),
    "one up and one down": (np.array([[[[-1.0, 0.0, 1.0]]]]), True),
    "nothing": (np.zeros((1, 1, 1, 3)), True),
}


@pytest.mark.parametrize("name", OPEN)
def test_an_open_unit_is_asked_for_and_the_choices_named(name: str) -> None:
    values, adds = OPEN[name]
    with pytest.raises(UsageError, match=r"could be in several units") as caught:
        units.infer_unit(values, adds=adds, where="poisons.npy")
    assert "--unit 0-255, --unit 0-1, --unit normalised:NAME" in caught.value.remedy
    assert ("as 0-1" in caught.value.message) == adds


@pytest.mark.parametrize(
    ("values", "adds"),
    [
        (np.array([np.nan]), False),
        (np.array([np.inf, 0.0]), True),
        (np.array([1], dtype=np.uint8), True),
        (np.array([True]), False),
        (np.array([1j]), False),
    ],
)
def test_what_cannot_be_pixels_is_damage(values: np.ndarray, adds: bool) -> None:
    for stated in (None, "0-255", "0-1", "normalised:cifar10"):
        with pytest.raises(DamagedError):
            units.unit_of(values, stated, adds=adds, where="x")


@pytest.mark.parametrize("images", [IMAGES, IMAGES // 255])
def test_bytes_are_levels_and_no_one_may_say_otherwise(images: np.ndarray) -> None:
    for stated in (None, "0-255"):
        assert units.unit_of(images, stated, adds=False, where="x") == units.LEVELS
    for stated in ("0-1", "normalised:cifar10"):
        with pytest.raises(UsageError, match="bytes, which are levels"):
            units.unit_of(images, stated, adds=False, where="x")


def test_what_is_stated_is_taken_where_the_values_leave_it_open() -> None:
    values = np.array([[[[-1.0, 0.0, 1.0]]]])
    for stated in EVERY:
        assert units.unit_of(values, stated, adds=True, where="x") == units.parse_unit(stated)


@pytest.mark.parametrize(
    "text",
    ["255", "0-2", "normalised", "normalised:", "normalised:mnist", "normalised:1,1/1,1", "normalised:0,0,0/0,1,1"],
)
def test_a_unit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--unit"):
        units.parse_unit(text)
