"""The shards of a trial follow from its slots, are full but for the last, and are read up to their recorded size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import check, small_base, small_set
from golden.making import GOLDEN

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.records.shards import ShardRecord, shard_index
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.reader import open_set

FIRST, SECOND = "poisons/trial-00000-000.tar", "poisons/trial-00000-001.tar"


@pytest.fixture(scope="module")
def base() -> Base:
    return small_base(classes=2, each=12, side=2)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLOTS_PER_SHARD", 4)


@pytest.fixture
def honest(tmp_path: Path, base: Base, small_shards: None) -> Path:
    """One trial of seven poisons in shards of four and three."""
    return small_set(tmp_path / "set", base, trials=1, seed=1, poisons=7)


def test_a_trial_is_cut_at_the_limit(honest: Path, base: Base) -> None:
    assert open_set(honest).trials[0].shards() == [FIRST, SECOND]
    assert check(honest, base).findings == ()
    assert [len(shard.decode((honest / p).read_bytes(), 2, 2, p).labels) for p in (FIRST, SECOND)] == [4, 3]


def test_the_limit_is_a_thousand() -> None:
    trial = open_set(GOLDEN).manifest.trials[0].model_copy(update={"trial": 3})

    def index(slots: int) -> tuple[ShardRecord, ...]:
        filled = trial.slots.model_copy(update={"labels": (1,) * slots})
        return shard_index([trial.model_copy(update={"slots": filled})])

    assert [len(index(n)) for n in (1, 1000, 1001, 1_000_000)] == [1, 1, 2, 1000]
    assert index(1001) == (
        ShardRecord(path="poisons/trial-00003-000.tar", trials=(3,), samples=1000),
        ShardRecord(path="poisons/trial-00003-001.tar", trials=(3,), samples=1),
    )


def recut(honest: Path, pieces: dict[str, slice]) -> None:
    """Divide the same samples into other shards, with matching hashes."""
    images, labels = open_set(honest).trials[0].poisons()
    document: dict[str, Any] = canonical_json.loads((honest / "manifest.json").read_bytes(), "manifest.json")
    for path in (FIRST, SECOND):
        (honest / path).unlink()
    for path, some in pieces.items():
        (honest / path).write_bytes(shard.encode(0, some.start, images[some], labels[some]))
    names = ["README.md", *pieces]
    data = {name: (honest / name).read_bytes() for name in sorted(names)}
    document["files"] = [
        {"path": name, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()} for name, body in data.items()
    ]
    (honest / "manifest.json").write_bytes(canonical_json.checksummed(document))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ({FIRST: slice(0, 3), SECOND: slice(3, 7)}, "3 samples and is not the last"),
        ({FIRST: slice(0, 4), "poisons/trial-00000-002.tar": slice(4, 7)}, "trial-00000-001.tar is not listed"),
        ({FIRST: slice(0, 4), "poisons/trial-00000-1.tar": slice(4, 7)}, "trial-00000-001.tar is not listed"),
        ({FIRST: slice(0, 4), SECOND: slice(4, 6), "poisons/trial-00000-002.tar": slice(6, 7)}, "other slots"),
    ],
)
def test_other_cuts_and_names_are_refused(honest: Path, base: Base, pieces: dict[str, slice], message: str) -> None:
    recut(honest, pieces)
    assert not check(honest, base).clean
    with pytest.raises(DamagedError, match=message):
        open_set(honest).trials[0].poisons()


def test_a_shard_of_too_many_samples_is_refused(honest: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = open_set(honest).trials[0].poisons()
    data = shard.encode(0, 0, images, labels)
    with pytest.raises(DamagedError, match="more than 4 samples"):
        shard.decode(data, 2, 2, "shard")
    monkeypatch.setattr(limits, "SLOTS_PER_SHARD", 7)
    assert len(shard.decode(data, 2, 2, "shard").labels) == 7


def test_a_linked_folder_is_refused_by_every_reader(honest: Path, base: Base) -> None:
    (honest / "poisons").rename(honest.parent / "outside")
    (honest / "poisons").symlink_to(honest.parent / "outside")
    with pytest.raises(DamagedError, match="linked folder"):
        open_set(honest).trials[0].poisons()
    assert check(honest, base).worst == 3


def test_no_more_is_read_than_the_manifest_declares(honest: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {
        record["path"]: record["bytes"] for record in json.loads((honest / "manifest.json").read_bytes())["files"]
    }
    asked: dict[str, int] = {}
    real: Callable[..., bytes] = store.read_file

    def reading(path: Path, limit: int, **options: Any) -> bytes:
        asked[path.relative_to(honest).as_posix()] = limit
        return real(path, limit, **options)

    monkeypatch.setattr(store, "read_file", reading)
    assert check(honest, base).clean
    assert {path: asked[path] for path in declared} == declared
    (honest / FIRST).write_bytes((honest / FIRST).read_bytes() + bytes(10240))
    with pytest.raises(DamagedError, match=f"larger than {declared[FIRST]} bytes"):
        open_set(honest).read(FIRST)


def test_many_trials_are_indexed_once(honest: Path) -> None:
    """Finding a trial does not search the list of all files or shards."""
    opened = open_set(honest)
    record = opened.manifest.trials[0]
    trials = tuple(record.model_copy(update={"trial": number}) for number in range(5000))
    many = opened.manifest.model_copy(update={"trials": trials, "shards": shard_index(trials)})
    indexed = type(opened)(honest, many)
    assert indexed.trial(4999).shards() == ["poisons/trial-04999-000.tar", "poisons/trial-04999-001.tar"]
    assert np.unique([indexed.trial(number).number for number in range(5000)]).size == 5000
