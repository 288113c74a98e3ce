"""Devices by name, and which of them a worker has."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NoReturn

import pytest
import torch

from poisonsets.manifests.errors import MissingError, PoisonsetsError, UsageError
from poisonsets.victims.placement import resolve, resolve_all, worker_count, worker_device

Having = Callable[..., None]


def cuda(*numbers: int) -> list[torch.device]:
    return [torch.device("cuda", number) for number in numbers]


@pytest.fixture
def having(monkeypatch: pytest.MonkeyPatch) -> Having:
    """Makes PyTorch tell of GPUs of these models; of none it says why."""

    def have(*models: str, mps: bool = False, why: str = "", warning: str = "") -> None:
        def available() -> bool:
            if warning:
                warnings.warn(warning, stacklevel=1)
            return bool(models)

        def name(device: int | torch.device) -> str:
            if not models:
                raise RuntimeError(why)
            return models[device if isinstance(device, int) else device.index]

        monkeypatch.setattr(torch.cuda, "is_available", available)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(models))
        monkeypatch.setattr(torch.cuda, "get_device_name", name)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return have


def test_one_device_is_a_list_of_one(having: Having) -> None:
    having("H", "H", mps=True)
    assert list(resolve_all("cpu")) == [torch.device("cpu")]
    assert list(resolve_all("mps")) == [torch.device("mps")]
    assert list(resolve_all("auto")) == cuda(0)
    assert list(resolve_all("cuda")) == cuda(0)


def test_several_gpus_of_one_model_are_taken_as_they_are_listed(having: Having) -> None:
    having("H", "A", "H")
    assert list(resolve_all("cuda:2, cuda")) == cuda(2, 0)


@pytest.mark.parametrize(
    ("names", "error", "fragments"),
    [
        ("cuda:0,cuda:1", MissingError, ("cuda:0 is H, cuda:1 is A", "GPUs of one model")),
        ("cuda:0,cuda:3", MissingError, ("--device cuda:3: this machine has cuda:0 (H), cuda:1 (A)", "nvidia-smi")),
        ("cuda,cuda:0", UsageError, ("stands twice", "`--device cuda:0 --workers 2`")),
        ("cuda:0,cpu", UsageError, ("'cpu' in a list", "cuda:0,cuda:1")),
        ("cuda:0,", UsageError, ("'' in a list",)),
        ("auto,cuda:1", UsageError, ("'auto' in a list",)),
        ("tpu", UsageError, ("'tpu'", "cuda:N")),
        ("mps", MissingError, ("Metal", "--device cpu")),
    ],
)
def test_what_cannot_be_used_is_refused(
    having: Having, names: str, error: type[PoisonsetsError], fragments: tuple[str, ...]
) -> None:
    having("H", "A")
    with pytest.raises(error) as raised:
        resolve_all(names)
    told = f"{raised.value.message} {raised.value.remedy}"
    assert [fragment for fragment in fragments if fragment not in told] == []


def test_training_one_network_takes_no_list(having: Having) -> None:
    having("H", "H")
    with pytest.raises(UsageError, match="one can be used here"):
        resolve("cuda:0,cuda:1")


@pytest.mark.parametrize("way", ["why", "warning"])
def test_without_a_gpu_the_reason_is_told_and_nothing_else(
    having: Having, way: str, recwarn: pytest.WarningsRecorder
) -> None:
    old = "The NVIDIA driver on your system is too old (found version 11040). Please update it"
    having(**{way: old})
    with pytest.raises(MissingError) as raised:
        resolve("cuda:1")
    assert raised.value.message == f"--device cuda:1: this machine has no CUDA device ({old.split('. ')[0]})"
    assert not recwarn.list


def test_pytorch_without_cuda_is_a_reason_too(having: Having, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_device: object) -> NoReturn:
        raise AssertionError("Torch not compiled with CUDA enabled")

    having()
    monkeypatch.setattr(torch.cuda, "get_device_name", refuse)
    with pytest.raises(MissingError, match="Torch not compiled with CUDA enabled"):
        resolve("cuda")


def test_workers_have_the_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert [worker_device(cuda(1, 3), number) for number in range(5)] == cuda(1, 3, 1, 3, 1)
    assert worker_device([torch.device("cpu")], 1) == torch.device("cpu")
    assert current == cuda(1, 3, 1, 3, 1)


def test_there_is_a_worker_a_device_unless_more_are_asked_for() -> None:
    assert [worker_count(None, cuda(0)), worker_count(None, cuda(0, 1)), worker_count(5, cuda(0, 1))] == [1, 2, 5]
    with pytest.raises(UsageError, match="--workers 1: fewer than the 2 devices"):
        worker_count(1, cuda(0, 1))
