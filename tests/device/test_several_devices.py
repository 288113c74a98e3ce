"""Crafting and scoring on several devices: who works where, and that nothing but the time depends on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from device.fake_gpu import MODEL, Gpu, fake_gpu
from works import content

from poisonsets.cli.main import run
from poisonsets.crafting import blocks, driver
from poisonsets.crafting.crafter import Crafter
from poisonsets.manifests.workers import Worker, run_all, silent
from poisonsets.victims.placement import worker_device
from poisonsets.victims.scoring import score
from poisonsets.victims.scoring.worker import RowMaker
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer
from poisonsets.victims.training import loop

CRAFT = ("craft", "label-flip", "--base", "digits", "--trials", "0-2", "--poisons", "5", "-q")
PROTOCOL = "digits-scratch/convnet@epochs=1,width=0.0625"
EVERY_EPOCH = dict(WholeNetworkTrainer.__init__.__kwdefaults__ or {}, every=1)
MEASURED = {"device", "gpu", "peak_memory_bytes", "seconds"}


@pytest.fixture(autouse=True)
def shared_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with fake_gpu() as gpu:
        gpu.count = 2
        yield gpu


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The workers of a pool take turns in this process, where the GPUs are; how many there were."""
    sizes: list[int] = []

    def in_turn(items: Sequence[Any], make: Callable[[int], Worker[Any, Any]], *, workers: int, **_: Any) -> Any:
        sizes.append(workers)
        made = [make(number) for number in range(workers)]
        return [made[number % workers].run(item, silent) for number, item in enumerate(items)]

    monkeypatch.setattr(driver, "run_all", in_turn)
    monkeypatch.setattr(score, "run_all", in_turn)
    return sizes


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where each piece of work was done."""
    used: list[str] = []
    craft, make = Crafter.run, RowMaker.run

    def crafting(crafter: Crafter, *given: Any) -> Any:
        used.append(str(crafter._device))
        return craft(crafter, *given)

    def scoring(maker: RowMaker, *given: Any) -> Any:
        used.append(str(maker._settings.device))
        return make(maker, *given)

    monkeypatch.setattr(Crafter, "run", crafting)
    monkeypatch.setattr(RowMaker, "run", scoring)
    return used


def test_a_set_is_the_same_whichever_gpu_crafts_a_trial(
    tmp_path: Path, gpu: Gpu, pool: list[int], devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_PIXELS", 1)  # a trial each
    assert run([*CRAFT, "--device", "cuda:1", "-o", str(tmp_path / "one")]) == 0
    assert run([*CRAFT, "--device", "cuda:0,cuda:1", "-o", str(tmp_path / "both")]) == 0
    assert pool == [1, 2]
    assert devices == ["cuda:1"] * 3 + ["cuda:0", "cuda:1", "cuda:0"]
    assert content(tmp_path / "both") == content(tmp_path / "one")
    made = json.loads((tmp_path / "both" / "run.json").read_bytes())
    assert (made["device"], made["gpu"], made["workers"]) == ("cuda", MODEL, 2)
    assert not gpu.faults


def test_rows_are_the_same_whichever_worker_makes_them(
    tmp_path: Path, gpu: Gpu, pool: list[int], devices: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*CRAFT, "--device", "cpu", "-o", str(tmp_path / "set")]) == 0
    devices.clear()

    def rows(*options: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert run(["score", str(tmp_path / "set"), "--protocol", PROTOCOL, "-q", "--json", *options]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
        assert {(row["device"], row["gpu"]) for row in found} == {("cuda", MODEL)}
        return [{key: value for key, value in row.items() if key not in MEASURED} for row in found]

    one = rows("--device", "cuda:0")
    assert rows("--device", "cuda:1,cuda:0", "--workers", "3") == one
    assert devices == ["cuda:0"] * 3 + ["cuda:1", "cuda:0", "cuda:1"]
    assert pool[1:] == [1, 3]
    assert not gpu.faults


def test_rows_of_two_models_are_told_and_no_victim_is_of_both(
    tmp_path: Path, gpu: Gpu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A victim stopped in training begins anew on a GPU of another model."""
    assert run([*CRAFT, "--device", "cpu", "-o", str(tmp_path / "set")]) == 0
    asked = ["score", str(tmp_path / "set"), "--protocol", PROTOCOL.replace("=1", "=2"), "-o", str(tmp_path / "rows")]
    monkeypatch.setattr(WholeNetworkTrainer.__init__, "__kwdefaults__", EVERY_EPOCH)
    epochs: list[int] = []

    def stop(_model: object, _schedule: object, epoch: int) -> None:
        epochs.append(epoch)
        if len(epochs) == 6:  # the second victim, after trial 0 has one and a control
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "refuse_diverged", stop)
    assert run([*asked, "-q", "--device", "cuda"]) == 130
    assert epochs == [0, 1, 0, 1, 0, 1]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "another GPU")
    capsys.readouterr()
    assert run([*asked, "-q", "--device", "cuda", "--resume", "--json"]) == 0
    told = capsys.readouterr()
    assert epochs[6:8] == [0, 1]
    assert {row["gpu"] for row in json.loads(told.out)["rows"]} == {MODEL, "another GPU"}
    assert f"rows come from GPUs of 2 models ({MODEL}, another GPU)" in told.err


@pytest.mark.parametrize("command", ["craft", "score"])
def test_fewer_workers_than_devices_are_refused(
    tmp_path: Path, gpu: Gpu, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "set")
    assert run([*CRAFT, "--device", "cpu", "-o", folder]) == 0
    asked = (*CRAFT, "-o", str(tmp_path / "new")) if command == "craft" else ("score", folder, "--protocol", PROTOCOL)
    assert run([*asked, "--device", "cuda:0,cuda:1", "--workers", "1"]) == 2
    assert "--workers 1: fewer than the 2 devices. Leave --workers out" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_train_takes_one_device(tmp_path: Path, gpu: Gpu, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", "--base", "digits", "--net", "convnet", "--epochs", "1", "-o", str(tmp_path / "w.safetensors")]
    assert run([*asked, "--device", "cuda:0,cuda:1"]) == 2
    assert "one can be used here. Name one, such as cuda:0" in capsys.readouterr().err


class Placed:
    """Says on which device it works, when both workers do."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder = folder
        self._device = worker_device([torch.device("cpu"), torch.device("meta")], worker)

    def run(self, item: int, progress: object) -> str:
        found = str(torch.zeros(item, device=self._device).device)
        (self._folder / found).touch()
        until = time.monotonic() + 60
        while len(list(self._folder.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        return found


def test_processes_of_a_pool_have_their_devices(tmp_path: Path) -> None:
    """With two kinds that every machine has."""
    found = run_all(range(2), partial(Placed, tmp_path), workers=2, progress=silent)
    assert sorted(found) == ["cpu", "meta"]
