"""The sha256 stream: pinned values, uniformity, no repetition in samples."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from poisonsets.manifests.stream import Stream


def test_words_are_those_of_sha256_in_counter_mode() -> None:
    block = hashlib.sha256(b'["trial",0,7]' + bytes(8)).digest()
    stream = Stream("trial", 0, 7)
    words = [int.from_bytes(block[i : i + 8], "big") for i in range(0, 32, 8)]
    assert [stream.below(2**64) for _ in range(4)] == words


def test_values_are_pinned() -> None:
    stream = Stream("pin", 1)
    assert [stream.below(1000) for _ in range(5)] == [939, 645, 778, 89, 757]
    assert stream.sample(range(10), 4) == [9, 0, 5, 8]


def test_below_is_uniform_within_five_sigma() -> None:
    stream = Stream("uniform")
    counts = Counter(stream.below(7) for _ in range(7000))
    assert all(abs(counts[i] - 1000) < 5 * (1000 * 6 / 7) ** 0.5 for i in range(7))


def test_sample_draws_each_item_at_most_once_and_refuses_too_many() -> None:
    drawn = Stream("sample").sample(range(50), 50)
    assert sorted(drawn) == list(range(50))
    with pytest.raises(ValueError, match="51 of 50"):
        Stream("sample").sample(range(50), 51)


def test_keys_are_kept_apart() -> None:
    assert Stream("a", 1).seed() != Stream("a1").seed()
    assert Stream("a", "1").seed() != Stream("a", 1).seed()
