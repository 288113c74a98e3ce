"""Arithmetic is float32 whatever PyTorch was told before, and that is in force again afterwards."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from device.fake_gpu import DEVICE, fake_gpu

from poisonsets.cli import options
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.device import device_refusal
from poisonsets.victims.precision import Precision, exact_arithmetic, refuse_precision

BACKENDS: Any = torch.backends
compiler: Any = importlib.import_module("torch._inductor.config")
OPERATIONS = (
    *(BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn),
    *(BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv, BACKENDS.mkldnn.rnn),
)
TELL: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "allow_tf32": lambda: setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
    "one operation": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "convolutions alone": lambda: setattr(BACKENDS.cudnn.rnn, "fp32_precision", "ieee"),
    "all operations": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
}


def precisions() -> list[str]:
    return [operation.fp32_precision for operation in OPERATIONS]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = precisions()
    yield
    BACKENDS.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = True
    for operation, precision in zip(OPERATIONS, before, strict=True):
        operation.fp32_precision = precision


@pytest.mark.parametrize("way", TELL)
def test_nothing_is_rounded_to_tf32_or_bfloat16(way: str) -> None:
    TELL[way]()
    before = precisions()
    with exact_arithmetic(), exact_arithmetic():
        assert precisions() == ["ieee"] * len(OPERATIONS)
        # What a compiler asks; they raise where the ways of saying it contradict each other.
        assert torch.get_float32_matmul_precision() == "highest"
        assert (BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32) == (False, False)
    assert precisions() == before


@pytest.mark.parametrize("way", TELL)
def test_tf32_is_on_a_gpu_alone_and_asked_for_anywhere_is_overruled(way: str) -> None:
    TELL[way]()
    before = precisions()
    with exact_arithmetic("tf32"):
        assert precisions() == ["tf32"] * 3 + ["ieee"] * 3
        assert torch.get_float32_matmul_precision() == "high"
        assert (BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32) == (True, True)
        with exact_arithmetic():
            assert precisions() == ["ieee"] * len(OPERATIONS)
        assert precisions() == ["tf32"] * 3 + ["ieee"] * 3
    assert precisions() == before


@pytest.mark.parametrize(
    ("precision", "kinds"), [("fp32", {"cpu", "cuda", "mps"}), ("tf32", {"cuda"}), ("bf16", {"cpu", "cuda"})]
)
def test_a_device_that_lacks_a_precision_is_refused(precision: Precision, kinds: set[str]) -> None:
    for kind in ("cpu", "cuda", "mps"):
        if kind in kinds:
            refuse_precision(precision, torch.device(kind))
            continue
        with pytest.raises(UsageError, match=f"no {precision} on device {kind}") as refused:
            refuse_precision(precision, [torch.device("cuda", 0), torch.device(kind)])
        assert refused.value.remedy == "Use --precision fp32"


def test_the_command_line_knows_every_precision() -> None:
    assert options.Precision == Precision


@pytest.mark.parametrize("level", ["highest", "high", "medium"])
def test_a_level_for_products_is_put_back(level: str) -> None:
    torch.set_float32_matmul_precision(level)
    with pytest.raises(ZeroDivisionError), exact_arithmetic():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == level
    assert BACKENDS.cuda.matmul.allow_tf32 == (level != "highest")
    assert BACKENDS.cudnn.allow_tf32


@pytest.mark.parametrize("before", [(False, False), (True, True), (True, False)], ids=str)
def test_on_a_gpu_operators_and_compiler_repeat_themselves(before: tuple[bool, bool]) -> None:
    memory: Any = torch.utils.deterministic

    def told() -> tuple[bool, ...]:
        deterministic = torch.are_deterministic_algorithms_enabled()
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        return deterministic, warns, compiler.deterministic, memory.fill_uninitialized_memory

    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    try:
        for timing in (False, True):
            compiler.deterministic = timing
            with fake_gpu(), pytest.raises(ZeroDivisionError), exact_arithmetic():  # noqa: PT012
                assert told() == (True, False, True, False)
                raise ZeroDivisionError
            assert told() == (*before, timing, True)
        with exact_arithmetic():
            assert told() == (*before, True, True)
    finally:
        torch.use_deterministic_algorithms(False)


def test_an_operator_that_adds_in_random_order_is_refused() -> None:
    with fake_gpu() as gpu, exact_arithmetic():
        images = torch.ones(1, 3, 4, 4, device=DEVICE, requires_grad=True)
        shown = F.grid_sample(images, torch.zeros(1, 4, 4, 2, device=DEVICE), align_corners=True)
        with pytest.raises(RuntimeError) as raised:
            torch.autograd.grad(shown.sum(), images)
        torch.ones(3, device=DEVICE).cumsum(0)  # has another kernel
    assert gpu.faults.total() == gpu.random.total() == 1
    with fake_gpu() as gpu:
        torch.ones(3, device=DEVICE).cumsum(0)
    assert gpu.random.total() == 1
    refusal = device_refusal(raised.value, "cuda:0", "")
    assert refusal is not None
    assert refusal.message == "cuda:0: grid_sampler_2d_backward_cuda gives other bytes in each run"
    assert refusal.exit_code == 4


def test_the_environment_does_not_count_either() -> None:
    program = (
        "import torch; from poisonsets.victims.precision import exact_arithmetic\n"
        "asked = lambda: print(torch.backends.cuda.matmul.allow_tf32)\n"
        "asked()\nwith exact_arithmetic(): asked()\nasked()"
    )
    environment = os.environ | {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True"]
