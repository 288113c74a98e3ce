"""The arithmetic of a network's passes, forward and back: one choice, in force for a block and nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Final

import torch

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.origin import Precision

__all__ = ["Precision", "autocast", "exact_arithmetic", "refuse_precision"]

_HELD_BY: Final[dict[Precision, tuple[str, ...]]] = {
    "fp32": ("cpu", "cuda", "mps"),
    "tf32": ("cuda",),
    "bf16": ("cpu", "cuda"),
}
"""The kinds of device that compute in a precision, and give the same bytes each time."""


def refuse_precision(precision: Precision, devices: torch.device | Sequence[torch.device]) -> None:
    """Refuse a precision that one of the devices cannot compute in.

    Args:
        precision: `fp32`; `tf32`, products and convolutions of float32 rounded to 10 bits of the mantissa, on GPUs of
            NVIDIA; `bf16`, those that PyTorch's autocast takes to be safe in bfloat16.
        devices: where to compute.

    Raises:
        UsageError: one of them is of another kind.
    """
    for device in [devices] if isinstance(devices, torch.device) else devices:
        if device.type not in _HELD_BY[precision]:
            raise UsageError(f"there is no {precision} on device {device}", "Use --precision fp32")


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """bfloat16 where it is safe for `bf16`, within `exact_arithmetic`; nothing for the others."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def exact_arithmetic(precision: Precision = "fp32") -> Iterator[None]:
    """Within the block: one CPU thread, and nothing on a GPU that differs from run to run.

    The number of threads changes the order of sums, so equal inputs would give other bytes on a machine with other
    cores; under load one thread is also faster.

    Args:
        precision: float32 is all of float32 unless this is `tf32`, whatever PyTorch was told before. TF32 keeps 10 bits
            of the mantissa, which makes features a thousand times less exact; a CPU has none.
    """
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    wanted = {"enabled": True, "benchmark": False, "deterministic": True}
    before = {name: getattr(cudnn, name) for name in wanted}
    torch.set_num_threads(1)
    try:
        with _float32(tf32=precision == "tf32"), _same_in_each_run():
            _set(cudnn, wanted)
            yield
    finally:
        _set(cudnn, before)
        torch.set_num_threads(threads)


@contextmanager
def _float32(*, tf32: bool) -> Iterator[None]:
    """Within the block products and convolutions of float32 are rounded to TF32 on a GPU, or nothing is anywhere.

    PyTorch can be told to in three ways: by an environment variable with `set_float32_matmul_precision` and
    `allow_tf32`, by a `fp32_precision` for each operation, and by one for all of them. It refuses to answer for the
    first where the second contradicts it, so both are set. `cudnn.flags` overlooks the third.
    """
    cudnn, cuda, mkldnn = torch.backends.cudnn, torch.backends.cuda, torch.backends.mkldnn
    on_gpu: list[Any] = [cuda.matmul, *(getattr(cudnn, name) for name in ("conv", "rnn"))]
    on_cpu: list[Any] = [getattr(mkldnn, name) for name in ("conv", "rnn", "matmul")]
    operations = on_gpu + on_cpu
    before = [operation.fp32_precision for operation in operations]
    level, convolutions = "highest", False  # where they contradict what is in force
    with suppress(RuntimeError):
        level = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        convolutions = cudnn.allow_tf32

    def set_all(level: str, convolutions: bool, precisions: Iterable[str]) -> None:
        torch.set_float32_matmul_precision(level)
        cudnn.allow_tf32 = convolutions
        for operation, precision in zip(operations, precisions, strict=True):
            operation.fp32_precision = precision

    wanted = ["tf32" if tf32 else "ieee"] * len(on_gpu) + ["ieee"] * len(on_cpu)
    set_all("high" if tf32 else "highest", tf32, wanted)
    try:
        yield
    finally:
        set_all(level, convolutions, before)


@contextmanager
def _same_in_each_run() -> Iterator[None]:
    """Within the block operators of a GPU that add in random order have another kernel, or raise where there is none.

    The compiler too chooses its kernels by rule and times none. New memory is left unset: nothing of ours reads it
    before it is written, and filling it costs a pass over each tensor. Where there is no GPU nothing changes.
    """
    if not torch.cuda.device_count():  # `is_available` would begin CUDA, and warn of an old driver
        yield
        return
    import torch._inductor.config as compiler  # takes a second to load

    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    timing, filling = compiler.deterministic, memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        compiler.deterministic, memory.fill_uninitialized_memory = timing, filling


def _set(owner: object, values: dict[str, bool]) -> None:
    for name, value in values.items():
        setattr(owner, name, value)
