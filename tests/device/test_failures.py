"""A GPU that fails in the middle of a command: exit 4 with what to do, nothing half written, what was finished kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from device.fake_gpu import Gpu, fake_gpu
from works import content

from poisonsets.cli.main import run
from poisonsets.crafting.blocks import Block
from poisonsets.crafting.crafter import Crafter
from poisonsets.manifests.files import store
from poisonsets.victims.training import loop

FAILURES: dict[str, tuple[Exception, str]] = {
    "memory": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
    "device": (RuntimeError("CUDA error: unspecified launch failure"), "the device failed (CUDA error: unspecified"),
}
CRAFT = ("craft", "label-flip", "--base", "digits", "--trials", "0-2", "--poisons", "5", "-q", "--device", "cuda")
TRAIN = ("train", "--base", "digits", "--net", "convnet", "--width", "0.0625", "--epochs", "3", "-q")


@pytest.fixture
def gpu(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    with fake_gpu() as gpu:
        yield gpu


def failing(function: Callable[..., Any], call: int, error: Exception) -> Callable[..., Any]:
    """The function, but for one of its calls, which raises."""
    calls: list[None] = []

    def called(*given: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            raise error
        return function(*given, **named)

    return called


@pytest.mark.parametrize("failure", FAILURES)
def test_training_leaves_no_file(
    tmp_path: Path, gpu: Gpu, failure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error, said = FAILURES[failure]
    out = tmp_path / "weights.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "refuse_diverged", failing(loop.refuse_diverged, 2, error))
        assert run([*TRAIN, "--device", "cuda", "-o", str(out)]) == 4
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert run([*TRAIN, "--device", "cuda", "-o", str(out)]) == 0
    assert out.exists()


@pytest.mark.parametrize("failure", FAILURES)
def test_crafting_keeps_its_finished_trials(
    tmp_path: Path, gpu: Gpu, failure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block of one trial cannot be halved."""
    error, said = FAILURES[failure]
    monkeypatch.setattr("poisonsets.crafting.blocks.BLOCK_PIXELS", 1)
    attack, out, done = Crafter._task, tmp_path / "set", []
    with monkeypatch.context() as patch:
        patch.setattr(Crafter, "_task", failing(attack, 2, error))
        assert run([*CRAFT, "-o", str(out)]) == 4
    assert f"cuda:0: {said}" in (told := capsys.readouterr().err)
    assert "--resume" in told
    assert not out.exists()
    assert not list(tmp_path.rglob(f"*{store.TEMPORARY}"))

    def watched(crafter: Crafter, block: Block) -> Any:
        done.extend(plan.trial for plan in block.plans)
        return attack(crafter, block)

    monkeypatch.setattr(Crafter, "_task", watched)
    assert run([*CRAFT, "-o", str(out), "--resume"]) == 0
    assert done == [1, 2]
    assert run([*CRAFT, "-o", str(tmp_path / "whole")]) == 0
    assert content(out) == content(tmp_path / "whole")
