"""A sample of trials: the parts of one seed are the whole, and what is said of the unread rest is true."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest
from forge import Draft, forge, small_set

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.verification.findings import Report
from poisonsets.manifests.verification.sample import Sample, miss_probability, parse_sample
from poisonsets.manifests.verification.verify import verify

TRIALS = 7


@pytest.fixture
def honest(tmp_path: Path, base: Base) -> Path:
    return small_set(tmp_path / "honest", base, trials=TRIALS)


def check(folder: Path, base: Base, part: int, parts: int = 3, seed: int = 5) -> Report:
    return verify(folder, lambda pin: base, sample=Sample(part, parts, seed))


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_parts_of_one_seed_are_all_trials_once(parts: int) -> None:
    numbers = list(range(0, 2 * TRIALS, 2))
    found = [Sample(part, parts, 9).chosen(numbers) for part in range(1, parts + 1)]
    assert sorted(number for part in found for number in part) == numbers
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert found != [Sample(part, parts, 10).chosen(numbers) for part in range(1, parts + 1)] or parts in (1, 7)


def test_a_part_is_never_empty() -> None:
    found = [Sample(part, 10).chosen([4, 5, 6]) for part in range(1, 11)]
    assert {len(part) for part in found} == {1}
    assert {number for part in found for number in part} == {4, 5, 6}


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "1/3/3", "1 / 3", "0.1"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no part of a whole"):
        parse_sample(text, 0)
    assert parse_sample("3/3", 4) == Sample(3, 3, 4)


def test_the_probability_is_a_count_of_ways() -> None:
    for bad in range(TRIALS):
        ways = [not set(range(bad)) & set(read) for read in combinations(range(TRIALS), 3)]
        assert miss_probability(TRIALS, 3, bad) == Fraction(sum(ways), len(ways))


def lie(draft: Draft) -> None:
    for number in (2, 5):
        draft.images[number][1] = 255 - draft.images[number][1]


def test_the_parts_together_find_what_the_whole_finds(honest: Path, tmp_path: Path, base: Base) -> None:
    forged = forge(honest, tmp_path / "forged", lie)
    parts = [check(forged, base, part) for part in (1, 2, 3)]
    whole = verify(forged, lambda pin: base)
    assert whole.worst == 1
    found = sorted((one for part in parts for one in part.findings), key=lambda one: one.trial or 0)
    assert found == list(whole.findings)
    assert sum(part.checked["poisons"] for part in parts) == whole.checked["poisons"]
    for part in parts:
        assert part.sample is not None
        assert part.worst == (1 if {2, 5} & set(part.sample.trials) else 0)


def test_other_trials_are_neither_hashed_nor_read_and_said_so(honest: Path, base: Base) -> None:
    report = check(honest, base, 1)
    assert report.clean
    assert report.sample is not None
    other = honest / f"poisons/trial-{report.sample.unread[0]:05d}-000.tar"
    data = bytearray(other.read_bytes())
    data[700] ^= 1
    other.write_bytes(data)
    again = check(honest, base, 1)
    assert again.clean
    assert [part for part in (2, 3) if check(honest, base, part).worst == 3]
    assert any("anything in trials" in words and "not read" in words for words in again.not_checked)
    assert "3 of 7 trials (part 1/3 of seed 5)" in again.sample.lines()[0]  # type: ignore[union-attr]
    assert "1 of 7: 0.571" in again.sample.lines()[1]  # type: ignore[union-attr]


def test_d102_d103_names_and_sizes_of_other_trials_are_always_checked(honest: Path, base: Base) -> None:
    unread = check(honest, base, 1).sample.unread  # type: ignore[union-attr]
    longer, gone = (honest / f"poisons/trial-{number:05d}-000.tar" for number in unread[:2])
    longer.write_bytes(longer.read_bytes() + b"x")
    gone.unlink()
    found = {(one.code, one.place) for one in check(honest, base, 1).findings}
    assert found == {("D103", f"trial 0 poisons/{longer.name}"), ("D102", f"trial 4 poisons/{gone.name}")}


def test_d104_a_link_in_the_place_of_an_unread_shard_is_found(honest: Path, tmp_path: Path, base: Base) -> None:
    unread = check(honest, base, 1).sample.unread  # type: ignore[union-attr]
    path = honest / f"poisons/trial-{unread[0]:05d}-000.tar"
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    assert "D104" in {one.code for one in check(honest, base, 1).findings}
