"""What a device does: copies, its model, its failures."""

from typing import Final

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
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


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
