"""Distances: the blocked uint8 arithmetic gives what whole numbers of any size give, in every order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.verification import distance


def measured(images: Images, rows: list[int], others: Images, ids: list[int]) -> tuple[list[int], list[int]]:
    largest, squared = [-1] * len(rows), [-1] * len(rows)
    columns = (np.array(column, dtype=np.int64) for column in (rows, ids))
    first, second = columns
    for some, differences in distance.pixel_differences(images, first, others, second):
        largest[some] = distance.largest(differences).tolist()
        squared[some] = distance.squared(differences).tolist()
    return largest, squared


def oracle(images: Images, rows: list[int], others: Images, ids: list[int]) -> tuple[list[int], list[int]]:
    """In Python's own integers, value by value."""
    pairs = [
        [int(a) - int(b) for a, b in zip(images[row].ravel().tolist(), others[one].ravel().tolist(), strict=True)]
        for row, one in zip(rows, ids, strict=True)
    ]
    return [max(map(abs, one)) for one in pairs], [sum(d * d for d in one) for one in pairs]


levels = st.sampled_from([0, 1, 5, 6, 8, 9, 127, 128, 247, 250, 254, 255]) | st.integers(0, 255)


@given(
    side=st.tuples(st.integers(1, 9), st.integers(1, 12)),
    data=st.data(),
    block=st.sampled_from([1, 100, 700, 1 << 20]),
)
@settings(max_examples=120, deadline=None)
def test_equal_to_whole_numbers_of_any_size(side: tuple[int, int], data: st.DataObject, block: int) -> None:
    count = data.draw(st.integers(1, 5))
    images, others = (data.draw(arrays.arrays(np.uint8, (count, *side, 3), elements=levels)) for _ in range(2))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), min_size=1, max_size=8))
    rows, ids = ([pair[i] for pair in pairs] for i in range(2))
    kept, distance.BLOCK_BYTES = distance.BLOCK_BYTES, block  # type: ignore[misc]
    try:
        assert measured(images, rows, others, ids) == oracle(images, rows, others, ids)
    finally:
        distance.BLOCK_BYTES = kept  # type: ignore[misc]


def test_ten_thousand_deltas_give_the_verdict_of_whole_numbers() -> None:
    rng = np.random.default_rng(0)
    others = rng.choice(np.array([0, 3, 100, 250, 255], dtype=np.uint8), (10_000, 2, 2, 3))
    images = (others.astype(np.int64) + rng.integers(-9, 10, others.shape) * rng.integers(0, 2, others.shape)) % 256
    rows = list(range(10_000))
    largest, squared = measured(images.astype(np.uint8), rows, others, rows)
    wanted = oracle(images.astype(np.uint8), rows, others, rows)
    assert (largest, squared) == wanted
    assert {move <= 8 for move in largest} == {True, False}
    assert max(largest) > 246  # values that wrapped round


@pytest.mark.parametrize("side", [16, 17, 40])
def test_the_sum_of_squares_is_exact_where_it_is_largest(side: int) -> None:
    black, white = np.zeros((2, side, side, 3), np.uint8), np.full((2, side, side, 3), 255, np.uint8)
    assert measured(white, [0, 1], black, [1, 0]) == ([255, 255], [255**2 * 3 * side**2] * 2)


@given(st.permutations(range(7)), st.permutations(range(7)))
def test_the_order_of_pairs_changes_nothing_else(rows: list[int], ids: list[int]) -> None:
    images, others = np.random.default_rng(1).integers(0, 256, (2, 7, 3, 3, 3), dtype=np.uint8)
    before = images.copy(), others.copy()
    assert measured(images, rows, others, ids) == oracle(images, rows, others, ids)
    assert np.array_equal(images, before[0])
    assert np.array_equal(others, before[1])
