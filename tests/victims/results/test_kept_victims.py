"""Kept victims: the files give the networks that made the rows, and nothing else passes for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored
import torch
from standin import job_identity

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import array_file
from poisonsets.victims.networks import Classifier, NetworkSpec, build
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.results.folder import ResultsFolder, victim_path
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.victim_file import VictimRecord, load_victim, read_victim, write_victim
from poisonsets.victims.scoring import worker
from poisonsets.victims.scoring.score import Score, score_set
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.training.labels import images_of
from poisonsets.victims.training.views import as_input

HALF = ("0.5", "0.5", "0.5")
CPU = torch.device("cpu")
SETTINGS = "composition=in-place,epochs=3,lr_milestones=2,batch=16,width=0.25,pad=1"
HEADS = parse(f"digits-transfer/convnet@{SETTINGS}")
ADAM = parse(f"digits-transfer/convnet@{SETTINGS},optimiser=adam")
SCRATCH = parse(f"digits-scratch/convnet@{SETTINGS}")
WHOLE = parse(f"digits-transfer/convnet@{SETTINGS},training=end-to-end")


@pytest.fixture
def score(tiny_base: Base, makers: Any, extractor: Weights) -> Callable[..., Score]:
    """Score two trials."""
    opened = makers.set_of(*(makers.trial(i) for i in range(2)))

    def run(protocol: Protocol = HEADS, **options: Any) -> Score:
        return scored.score(opened, tiny_base, extractor, protocol, **options)

    return run


def stored(results: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (results / "victims").iterdir()}


@torch.no_grad()
def labels(network: Classifier, images: Any, classes: tuple[int, ...]) -> list[int]:
    return [classes[i] for i in network(as_input(torch.from_numpy(images))).argmax(1).tolist()]


@pytest.mark.parametrize("protocol", [HEADS, ADAM, WHOLE, SCRATCH], ids=["heads", "adam", "end-to-end", "scratch"])
def test_a_kept_victim_gives_the_predictions_of_its_row(
    score: Callable[..., Score], tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path, protocol: Protocol
) -> None:
    plain, kept = score(protocol), score(protocol, results=tmp_path / "r", keep_victims=True)
    assert scored.timeless(kept) == scored.timeless(plain)
    assert len(stored(tmp_path / "r")) == 4
    images, wanted = images_of(tiny_base.test, (2, 3))
    different = set()
    for row in kept.rows:
        target = makers.trial(row.trial).target_images(tiny_base)
        (asked,) = row.targets
        for role, predicted, correct in (
            ("poisoned", asked.predicted_poisoned, row.clean_correct),
            ("control", asked.predicted_control, row.control_correct),
        ):
            path = victim_path(tmp_path / "r", row.job, role)  # type: ignore[arg-type]
            found = read_victim(path).record
            assert (found.job, found.role, found.trial, found.victim_classes) == (row.job, role, row.trial, (2, 3))
            network = load_victim(path, None if protocol.training == "scratch" else extractor)
            assert labels(network, target, (2, 3)) == [predicted]
            assert labels(network, images, (0, 1)).count(0) > 0
            assert sum(a == b for a, b in zip(labels(network, images, (0, 1)), wanted, strict=True)) == correct
            different.add(network.head.weight.detach().numpy().tobytes())
    # Under in-place composition both trials have one control.
    assert len(different) == 3


def test_a_whole_victim_is_a_weights_file_that_says_so(score: Callable[..., Score], tmp_path: Path) -> None:
    first = score(SCRATCH, results=tmp_path / "r", keep_victims=True).rows[0]
    weights = load_weights(victim_path(tmp_path / "r", first.job, "poisoned"))
    said = weights.record["pretraining"]
    assert (said["role"], said["job"], said["victim_seed"], said["trial"]) == ("poisoned", first.job, 0, 0)
    assert (said["protocol"], said["content_digest"]) == (SCRATCH.id, "c" * 64)
    assert (weights.dataset, weights.side) == ("tiny", (16, 16))
    assert (weights.record["classes"], weights.record["class_names"]) == ([2, 3], ["c", "d"])


def test_workers_and_blocks_write_the_same_bytes(
    score: Callable[..., Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(results=tmp_path / "one", keep_victims=True)
    monkeypatch.setattr(LinearProbeTrainer, "block", 1)
    score(results=tmp_path / "two", keep_victims=True)
    assert stored(tmp_path / "one") == stored(tmp_path / "two")
    score(SCRATCH, results=tmp_path / "three", keep_victims=True)
    score(SCRATCH, results=tmp_path / "four", keep_victims=True)
    assert stored(tmp_path / "three") == stored(tmp_path / "four")


@pytest.mark.parametrize("protocol", [HEADS, SCRATCH], ids=["heads", "scratch"])
def test_a_row_without_its_victims_is_done_again(
    score: Callable[..., Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> None:
    results, done = tmp_path / "r", []
    run = worker.RowMaker.run
    monkeypatch.setattr(
        worker.RowMaker, "run", lambda self, block, *rest: done.extend(block.jobs) or run(self, block, *rest)
    )
    first = score(protocol, results=results)
    assert len(done) == 2
    score(protocol, results=results, resume=True, keep_victims=True)
    assert len(done) == 4
    wanted = stored(results)
    victim_path(results, first.rows[1].job, "control").unlink()
    again = score(protocol, results=results, resume=True, keep_victims=True)
    assert (len(done), again.rows[1].trial) == (5, 1)
    assert stored(results) == wanted
    score(protocol, results=results, resume=True, keep_victims=True)
    assert len(done) == 5


def test_no_control_no_file(tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path) -> None:
    opened = makers.set_of(makers.trial(unknown_bases=True))
    by_count = parse("digits-transfer/convnet@size=30,epochs=1,lr_milestones=none,width=0.25")
    asked = {"protocols": [by_count], "extractors": [extractor], "results": tmp_path / "r", "keep_victims": True}
    (row,) = score_set(opened, tiny_base, device=CPU, **asked).rows
    assert row.control is None
    assert list(stored(tmp_path / "r")) == [f"{row.job}-poisoned.safetensors"]
    (again,) = score_set(opened, tiny_base, device=CPU, resume=True, **asked).rows
    assert again == row


def test_a_row_is_stored_after_its_victims(
    score: Callable[..., Score], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    write = ResultsFolder.write

    def watched(folder: ResultsFolder, row: Row) -> None:
        seen.append(len([name for name in stored(folder.path) if name.startswith(row.job)]))
        write(folder, row)

    monkeypatch.setattr(ResultsFolder, "write", watched)
    score(results=tmp_path / "r", keep_victims=True)
    assert seen == [2, 2]
    with pytest.raises(UsageError, match="kept victims need a results folder"):
        score(keep_victims=True)


def test_a_head_wants_its_own_extractor(score: Callable[..., Score], extractor: Weights, tmp_path: Path) -> None:
    path = victim_path(tmp_path / "r", score(results=tmp_path / "r", keep_victims=True).rows[0].job, "poisoned")
    with pytest.raises(
        MissingError, match=rf"poisoned.*a head on the convnet@width=0\.25 of digest {extractor.digest}"
    ):
        load_victim(path)
    other = tmp_path / "other.safetensors"
    network = build("convnet", 2, "0.25", HALF, HALF, generator=torch.Generator().manual_seed(6))
    save_weights(other, network, {"classes": [0, 1]}, {})
    with pytest.raises(MissingError, match=r"other\.safetensors has .*it was scored with"):
        load_victim(path, load_weights(other))


@pytest.mark.parametrize("protocol", [HEADS, SCRATCH], ids=["heads", "scratch"])
def test_damage_is_refused(score: Callable[..., Score], tmp_path: Path, protocol: Protocol) -> None:
    results = tmp_path / "r"
    rows = score(protocol, results=results, keep_victims=True).rows
    path = victim_path(results, rows[0].job, "poisoned")
    good = path.read_bytes()
    flipped = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(0, len(good), len(good) // 40)]
    others = [victim_path(results, rows[i].job, role).read_bytes() for i, role in ((1, "poisoned"), (0, "control"))]
    for bad in (*flipped, b"", good[:-3], b"none" * 90):
        path.write_bytes(bad)
        with pytest.raises(DamagedError, match=path.name):
            read_victim(path)
    for bad in (*others, good[:-3]):
        path.write_bytes(bad)
        with pytest.raises(DamagedError, match=rf"{path.name}.*emove the file and score again with .*--resume"):
            score(protocol, results=results, resume=True, keep_victims=True)
    # Who does not ask for victims is not stopped by one.
    assert score(protocol, results=results, resume=True).rows == rows
    path.unlink()
    path.symlink_to(victim_path(results, rows[1].job, "poisoned"))
    with pytest.raises(DamagedError, match="a link"):
        read_victim(path)
    with pytest.raises(MissingError, match="no such file"):
        load_victim(tmp_path / "none.safetensors")


def test_a_head_that_says_something_else_is_damage(tmp_path: Path, tiny_base: Base) -> None:
    path, identity = tmp_path / "v.safetensors", job_identity()
    record = VictimRecord(**identity.fields(), role="poisoned", network="convnet", width="0.25", features=5)
    state = {"weight": torch.ones(2, 5), "bias": torch.zeros(2)}
    spec = NetworkSpec("convnet", 2, "0.25", HALF, HALF)
    write_victim(path, record, state, spec=spec, base=tiny_base)
    assert read_victim(path).record == record
    said, arrays = record.model_dump(mode="json"), {name: tensor.numpy() for name, tensor in state.items()}
    changes: list[dict[str, Any]] = [
        {"features": 4},
        {"features": None},
        {"trial": 4},
        {"role": "clean"},
        {"extractor": None},
        {"victim_classes": [2]},
        {"more": 1},
    ]
    for change in changes:
        array_file.write(path, said | change, arrays)
        with pytest.raises(DamagedError, match=r"v\.safetensors"):
            read_victim(path)
    array_file.write(path, said, arrays | {"bias": np.array([0, np.inf], np.float32)})
    with pytest.raises(DamagedError, match="not finite"):
        read_victim(path)
    with pytest.raises(ValueError, match="the record says"):
        write_victim(path, record, {"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, spec=spec, base=tiny_base)


def test_another_network_is_no_victim(tmp_path: Path, extractor: Weights) -> None:
    with pytest.raises(DamagedError, match="not the record of a victim"):
        load_victim(extractor.path)
    record = VictimRecord(
        **job_identity(extractor=None).fields(), role="poisoned", network="convnet", width="0.25"
    ).model_dump(mode="json", exclude={"network", "width", "input"})
    path = tmp_path / "v.safetensors"
    for said, classes in ((record, [3, 2]), (record | {"features": 5}, [2, 3]), (record | {"more": 1}, [2, 3])):
        save_weights(path, extractor.network, said, {}, classes=classes, overwrite=True)
        with pytest.raises(DamagedError, match=r"v\.safetensors: not the"):
            read_victim(path)
    save_weights(path, extractor.network, {**record, "features": None}, {}, classes=[2, 3], overwrite=True)
    assert read_victim(path).record.role == "poisoned"
