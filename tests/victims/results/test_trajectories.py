"""Trajectory files: what they hold, what is refused, and that scoring with them gives the rows it gives without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored
import torch
from safetensors import safe_open
from standin import job_identity

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import array_file
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.results.folder import ResultsFolder
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.trajectory import Trajectory, TrajectoryRecord, read_trajectory, write_trajectory
from poisonsets.victims.scoring import beside, worker
from poisonsets.victims.scoring.score import Score
from poisonsets.victims.trainers.curves import SERIES, curves_of
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer
from poisonsets.victims.training import loop

CPU = torch.device("cpu")
SETTINGS = "composition=in-place,epochs=3,lr_milestones=2,batch=16,width=0.25,pad=1"
HEADS = parse(f"digits-transfer/convnet@{SETTINGS}")
SCRATCH = parse(f"digits-scratch/convnet@{SETTINGS}")
WHOLE = parse(f"digits-transfer/convnet@{SETTINGS},training=end-to-end")


def example(*, control: bool = True, **changes: Any) -> Trajectory:
    """Two targets, five epochs."""
    identity = job_identity(trial=3, extractor=None, **changes)
    record = TrajectoryRecord(**identity.fields(), labels=(2, 7), adversarial_label=3, epochs=5, control=control)
    numbers = np.random.default_rng(1).random((2, 5, 9), dtype=np.float32)
    numbers[0, 0, 4] = np.nan
    return Trajectory(record, curves_of(numbers[0]), curves_of(numbers[1]) if control else None)


def same(one: Any, other: Any) -> bool:
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in (*SERIES, "cosine"))


@pytest.mark.parametrize("control", [True, False])
def test_what_is_written_is_read(tmp_path: Path, control: bool) -> None:
    wanted = example(control=control)
    for name in ("a.safetensors", "deep/b.safetensors"):
        write_trajectory(tmp_path / name, wanted)
        found = read_trajectory(tmp_path / name)
        assert found.record == wanted.record
        assert same(found.poisoned, wanted.poisoned)
        assert found.poisoned.true_loss.shape == (5, 2)
        assert found.poisoned.cosine.shape == (5,)
        if found.control is None or wanted.control is None:
            assert found.control is wanted.control
        else:
            assert same(found.control, wanted.control)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "deep" / "b.safetensors").read_bytes()
    with safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["poisonsets"])["format"] == "poisonset-trajectory/2"
        np.testing.assert_array_equal(file.get_tensor("poisoned.cosine"), wanted.poisoned.cosine)


def test_a_changed_file_is_damage(tmp_path: Path) -> None:
    path, wanted = tmp_path / "t.safetensors", example()
    write_trajectory(path, wanted)
    good = path.read_bytes()
    for place in [*range(0, len(good), 131), good.index(b'"trial') + 9]:
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(DamagedError, match=r"t\.safetensors"):
            read_trajectory(path)
    for bad in (b"", good[: len(good) // 2], b"no arrays" * 100):
        path.write_bytes(bad)
        with pytest.raises(DamagedError, match=r"t\.safetensors"):
            read_trajectory(path)


def test_a_file_that_says_something_else_is_damage(tmp_path: Path) -> None:
    path, one = tmp_path / "t.safetensors", example()
    record = one.record.model_dump(mode="json")
    zeros = {name: np.zeros(spec.shape, np.float32) for name, spec in one.record.specs.items()}
    changes: list[dict[str, Any]] = [
        {"format": "poisonset-trajectory/3"},
        {"epochs": 4},
        {"control": False},
        {"labels": [2]},
        {"trial": 4},
        {"more": 1},
    ]
    for change in changes:
        array_file.write(path, record | change, zeros)
        with pytest.raises(DamagedError, match=r"t\.safetensors.*[Rr]emove the file"):
            read_trajectory(path)
    array_file.write(path, record, zeros)
    assert not read_trajectory(path).poisoned.cosine.any()
    (tmp_path / "link.safetensors").symlink_to(path)
    with pytest.raises(DamagedError, match="a link"):
        read_trajectory(tmp_path / "link.safetensors")
    with pytest.raises(MissingError, match="no such file"):
        read_trajectory(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="the record says"):
        write_trajectory(path, replace(one, control=None))


@pytest.fixture
def score(tiny_base: Base, makers: Any, extractor: Weights) -> Callable[..., Score]:
    """Score three trials, or others."""
    opened = makers.set_of(*(makers.trial(i) for i in range(3)))

    def run(protocol: Protocol = HEADS, **options: Any) -> Score:
        return scored.score(opened, tiny_base, extractor, protocol, **options)

    return run


def stored(results: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (results / "trajectories").iterdir()}


@pytest.mark.parametrize("protocol", [HEADS, WHOLE, SCRATCH], ids=["heads", "end-to-end", "scratch"])
def test_rows_are_the_same_and_each_has_its_trajectory(
    score: Callable[..., Score], tmp_path: Path, protocol: Protocol
) -> None:
    plain = score(protocol, results=tmp_path / "plain")
    watched = score(protocol, results=tmp_path / "watched", trajectories=True)
    assert scored.timeless(watched) == scored.timeless(plain)
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == ["rows", "settings.json"]
    settings = [(tmp_path / name / "settings.json").read_bytes() for name in ("plain", "watched")]
    assert settings[0] == settings[1]
    assert set(stored(tmp_path / "watched")) == {row.job for row in watched.rows}
    for row in watched.rows:
        found = read_trajectory(tmp_path / "watched" / "trajectories" / f"{row.job}.safetensors")
        assert (found.record.trial, found.record.victim_seed, found.record.protocol) == (row.trial, 0, protocol.id)
        assert (found.record.labels, found.record.adversarial_label) == ((2,), 3)
        assert found.control is not None
        for curves, hit in ((found.poisoned, row.success), (found.control, row.control)):
            assert curves.adversarial_loss.shape == (3, 1)
            assert bool(curves.adversarial_confidence[-1] > 0.5) == hit


def test_workers_and_shares_write_the_same_bytes(
    score: Callable[..., Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(results=tmp_path / "one", trajectories=True)
    monkeypatch.setattr(LinearProbeTrainer, "block", 2)
    score(results=tmp_path / "two", trajectories=True, workers=2)
    assert stored(tmp_path / "one") == stored(tmp_path / "two")


def test_a_row_without_its_trajectory_is_done_again(
    score: Callable[..., Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, done = tmp_path / "r", []
    run = worker.RowMaker.run
    monkeypatch.setattr(
        worker.RowMaker, "run", lambda self, block, *rest: done.append(len(block.jobs)) or run(self, block, *rest)
    )
    plain = score(results=results)
    first = score(results=results, resume=True, trajectories=True)
    wanted = stored(results)
    assert (done, len(wanted)) == ([3, 3], 3)
    assert scored.timeless(first) == scored.timeless(plain)
    (results / "trajectories" / f"{first.rows[1].job}.safetensors").unlink()
    again = score(results=results, resume=True, trajectories=True)
    assert done == [3, 3, 1]
    assert (again.rows[0], again.rows[2]) == (first.rows[0], first.rows[2])  # with the seconds they took
    assert stored(results) == wanted
    score(results=results, resume=True, trajectories=True)
    assert done == [3, 3, 1]


def test_a_damaged_or_foreign_trajectory_is_named(score: Callable[..., Score], tmp_path: Path) -> None:
    results = tmp_path / "r"
    rows = score(results=results, trajectories=True).rows
    first, second = (results / "trajectories" / f"{row.job}.safetensors" for row in rows[:2])
    good = first.read_bytes()
    edited = good.replace(b'\\"victim_seed\\":0', b'\\"victim_seed\\":1')
    assert edited != good
    for bad in (b"", good[:-3], edited, second.read_bytes()):
        first.write_bytes(bad)
        with pytest.raises(DamagedError, match=first.name):
            score(results=results, resume=True, trajectories=True)
    # Who does not ask for trajectories is not stopped by one.
    assert score(results=results, resume=True).rows == rows
    first.unlink()
    first.symlink_to(second)
    with pytest.raises(DamagedError, match="a link"):
        score(results=results, resume=True, trajectories=True)


def test_a_row_is_stored_after_its_trajectory(
    score: Callable[..., Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    write = ResultsFolder.write

    def watched(folder: ResultsFolder, row: Row) -> None:
        seen.append((folder.path / "trajectories" / f"{row.job}.safetensors").exists())
        write(folder, row)

    monkeypatch.setattr(ResultsFolder, "write", watched)
    score(results=tmp_path / "r", trajectories=True)
    assert seen == [True] * 3
    shutil.rmtree(tmp_path / "r")

    def full(*_: Any) -> None:
        raise MissingError("the disk is full")

    monkeypatch.setattr(beside, "write_trajectory", full)
    with pytest.raises(MissingError):
        score(results=tmp_path / "r", trajectories=True)
    assert not (tmp_path / "r" / "rows").exists()


def test_trajectories_need_a_folder(score: Callable[..., Score]) -> None:
    with pytest.raises(UsageError, match="results folder"):
        score(trajectories=True)


@pytest.mark.parametrize("after", [2, 3, 5])
def test_a_killed_victim_goes_on_to_the_same_trajectory(
    score: Callable[..., Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Of a victim of three epochs kept after each, and its control: killed in, between and after them."""
    score(SCRATCH, trials=[0], results=tmp_path / "whole", trajectories=True)
    every, check, epochs = WholeNetworkTrainer.__init__, loop.refuse_diverged, []
    monkeypatch.setattr(WholeNetworkTrainer, "__init__", lambda *args, **rest: every(*args, **rest | {"every": 1}))

    def counted(*arguments: Any) -> None:
        check(*arguments)
        epochs.append(1)
        if len(epochs) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "refuse_diverged", counted)
    with pytest.raises(KeyboardInterrupt):
        score(SCRATCH, trials=[0], results=tmp_path / "killed", trajectories=True)
    score(SCRATCH, trials=[0], results=tmp_path / "killed", trajectories=True, resume=True)
    assert len(epochs) == 6 + 1  # the one that was killed is done again
    assert stored(tmp_path / "killed") == stored(tmp_path / "whole")
