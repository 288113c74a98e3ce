"""Which devices a command computes on, by name, and which of them each of its workers has."""

import re
import warnings
from collections.abc import Sequence
from typing import Final

import torch

from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.victims.device import gpu_model

_WITHOUT: Final = "Use --device cpu, or see which GPUs `nvidia-smi` and CUDA_VISIBLE_DEVICES name"


def resolve(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` is the first GPU of CUDA, or the CPU.

    Raises:
        UsageError: the name is none of these, or a list.
        MissingError: this machine lacks the device, or its driver does not serve it.
    """
    if "," in name:
        raise UsageError(f"--device {name[:80]}: several devices, one can be used here", "Name one, such as cuda:0")
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise MissingError("--device mps: PyTorch finds no Metal device on this machine", "Use --device cpu")
        return torch.device("mps")
    if not (match := re.fullmatch(r"cuda(?::([0-9]{1,3}))?", name)):
        raise UsageError(f"no device is called {name[:40]!r}", "Known: auto, cpu, cuda, cuda:N, mps")
    return _of_cuda(int(match[1] or 0))


def resolve_all(names: str) -> tuple[torch.device, ...]:
    """The devices of a list such as `cuda:0,cuda:1`, each as `resolve` knows it.

    Several are GPUs of one model: results differ between models, and which worker makes which is chance.

    Raises:
        UsageError: a name is unknown or stands twice, or one of several is not `cuda` or `cuda:N`.
        MissingError: as `resolve`, or the GPUs are of different models.
    """
    listed = [name.strip() for name in names.split(",")]
    if len(listed) > 1 and (odd := [name for name in listed if not name.startswith("cuda")]):
        raise UsageError(f"--device {names[:80]}: {odd[0][:40]!r} in a list", "A list is of GPUs: cuda:0,cuda:1")
    devices = tuple(map(resolve, listed))
    if len(set(devices)) < len(devices):
        given = ",".join(map(str, dict.fromkeys(devices)))
        raise UsageError(
            f"--device {names[:80]}: a device stands twice",
            f"For several workers each, type `--device {given} --workers {len(devices)}`",
        )
    models = {device: gpu_model(device) for device in devices}
    if len(set(models.values())) > 1:
        found = ", ".join(f"{device} is {model}" for device, model in models.items())
        raise MissingError(
            f"GPUs of different models give different results ({found})",
            "Name GPUs of one model, or give each command its own with --trials or --shard",
        )
    return devices


def worker_device(devices: Sequence[torch.device], number: int) -> torch.device:
    """The device of a pool's worker with this number, 0 and up: one after the other, so that all have work.

    A GPU becomes the current one of the process, which else would take memory of the first one too.
    """
    device = devices[number % len(devices)]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def worker_count(asked: int | None, devices: Sequence[torch.device]) -> int:
    """How many workers there are: one a device if nobody asked.

    Raises:
        UsageError: fewer than devices.
    """
    count = len(devices) if asked is None else asked
    if count < len(devices):
        raise UsageError(f"--workers {count}: fewer than the {len(devices)} devices", "Leave --workers out")
    return count


def _of_cuda(index: int) -> torch.device:
    with warnings.catch_warnings(record=True) as told:  # of a driver that is too old
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cause = str(told[-1].message) if told else ""
    models: list[str] = []
    try:
        models = [torch.cuda.get_device_name(number) for number in range(count or 1)]
    except (RuntimeError, AssertionError) as error:  # the latter: PyTorch was built without CUDA
        cause = cause or str(error)
    if index < len(models):
        return torch.device("cuda", index)
    found = ", ".join(f"cuda:{number} ({model})" for number, model in enumerate(models))
    if not found:
        found = f"no CUDA device ({re.split(r'[.]( |$)', ' '.join(cause.split()), maxsplit=1)[0][:200]})"
    raise MissingError(f"--device cuda:{index}: this machine has {found}", _WITHOUT)
