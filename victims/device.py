"""What a device does: copies, its model, its failures, and arithmetic that is float32 on every one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import torch
from torch import Tensor

from poisonsets.manifests.errors import MissingError

_NO_MEMORY: Final = ("out of memory", "allocate memory", "not enough memory", "alloc_failed", "bad_alloc")
_RESTART: Final = "Look at it with `nvidia-smi` and repeat the command; craft and score go on with --resume"
_FAILED: Final = ("CUDA error:", "cuDNN error:", "HIP error:")
_IRREPRODUCIBLE: Final = "does not have a deterministic implementation"


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy of a CPU tensor on the device, for use between steps: the host does not wait for the device.

    A GPU copies from pinned memory in its turn; from any other, `Tensor.to` waits until all that was asked of it
    before is done. On the CPU it is the tensor itself.
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def gpu_model(device: torch.device) -> str | None:
    """What a GPU's driver calls it, None for a CPU. Its number says nothing of the arithmetic, its model does."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the CPU or a device: each library, driver and platform has its own words for it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(words in said for words in _NO_MEMORY)


def device_refusal(error: BaseException, place: str, remedy: str) -> MissingError | None:
    """What to tell where memory ran out, the device failed or would not repeat itself; None for any other error.

    After most failures a process can use its GPU no more: whatever it tries next would fail too.

    Args:
        error: as PyTorch raised it.
        place: the device, for the message.
        remedy: what to lower where memory ran out.
    """
    if is_out_of_memory(error):
        return MissingError(f"{place}: out of memory", remedy)
    if isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _FAILED)
    ):
        cause = (str(error).splitlines() or [""])[0][:200]
        return MissingError(f"{place}: the device failed ({cause})", _RESTART)
    if isinstance(error, RuntimeError) and _IRREPRODUCIBLE in str(error):
        operator = str(error).split(maxsplit=1)[0][:100]
        return MissingError(f"{place}: {operator} gives other bytes in each run", "Use --device cpu or another network")
    return None


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Within the block: one CPU thread, all of float32, and nothing on a GPU that differs from run to run.

    The number of threads changes the order of sums, so equal inputs would give other bytes on a machine with other
    cores; under load one thread is also faster. TF32 keeps 10 bits of the mantissa, which makes features a thousand
    times less exact than float32 does.
    """
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    wanted = {"enabled": True, "benchmark": False, "deterministic": True}
    before = {name: getattr(cudnn, name) for name in wanted}
    torch.set_num_threads(1)
    try:
        with _all_of_float32(), _same_in_each_run():
            _set(cudnn, wanted)
            yield
    finally:
        _set(cudnn, before)
        torch.set_num_threads(threads)


@contextmanager
def _all_of_float32() -> Iterator[None]:
    """Within the block no product and no convolution of float32 is rounded to TF32 or bfloat16.

    PyTorch can be told to in three ways: by an environment variable with `set_float32_matmul_precision` and
    `allow_tf32`, by a `fp32_precision` for each operation, and by one for all of them. It refuses to answer for the
    first where the second contradicts it, so both are set. `cudnn.flags` overlooks the third.
    """
    cudnn, cuda, mkldnn = torch.backends.cudnn, torch.backends.cuda, torch.backends.mkldnn
    operations: list[Any] = [cuda.matmul]
    operations += [getattr(backend, name) for backend in (cudnn, mkldnn) for name in ("conv", "rnn")]
    operations.append(getattr(mkldnn, "matmul"))  # noqa: B009  torch does not declare it
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

    set_all("highest", False, ["ieee"] * len(operations))
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
