"""Where victims compute: a device by name, and arithmetic that is float32 on every device."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from poisonsets.manifests.errors import MissingError, UsageError


def resolve(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is the first GPU, or the CPU if there is none.

    Raises:
        UsageError: the name is none of these.
        MissingError: this machine lacks the GPU.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if not (match := re.fullmatch(r"cuda(?::([0-9]{1,3}))?", name)):
        raise UsageError(f"no device is called {name[:40]!r}", "Known: auto, cpu, cuda, cuda:N")
    index = int(match[1] or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise MissingError(f"device {name} was asked for, this machine has {count} CUDA devices", "Use --device cpu")
    return torch.device("cuda", index)


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Within the block: one CPU thread, and GPU convolutions without TF32, algorithm search or random order.

    The number of threads changes the order of sums, so equal inputs would give other bytes on a machine with other
    cores; under load one thread is also faster. TF32 keeps 10 bits of the mantissa, which makes features a thousand
    times less exact than float32 does.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)
