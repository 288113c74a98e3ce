"""`make bench-device`: what a device gives this project's work, each beside the plain version, as one table.

    python tests/benchmarks/device.py [--device cpu|cuda|cuda:N] [--size tiny|full] [-o FILE.json]

Seconds are wall time, the device waited for, the best of `ROUNDS`. Plain is the same work as a first script would have
it: float32, channels-first, not folded, a trial at a time, autograd's double backward. Shares are of the matrix rate in
bf16 that is measured first, not of a data sheet's.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from poisonsets.victims.precision import Precision

ROUNDS = 3
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
FORWARD_FLOP = 1.111e9  # of ResNet-18 at full width and 32 x 32 pixels; three times that with the backward pass


@dataclass(frozen=True)
class Size:
    """How much is measured: a matrix's side, the network's width, images at a time, trials, training's batch, steps."""

    matrix: int
    width: str
    images: int
    trials: int
    batch: int
    steps: int


SIZES = {"tiny": Size(64, "0.0625", 8, 1, 4, 1), "full": Size(8192, "1", 1024, 100, 128, 50)}


@dataclass(frozen=True)
class Row:
    """A line of the table: a rate of ours and of the plain version, in `unit`."""

    work: str
    ours: float
    plain: float
    unit: str
    note: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args(arguments)
    import torch

    from poisonsets.victims.device import gpu_model
    from poisonsets.victims.placement import resolve
    from poisonsets.victims.precision import exact_arithmetic

    device, size = resolve(given.device), SIZES[given.size]
    hardware = gpu_model(device) or platform.processor() or platform.machine()
    print(f"{hardware}; torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}")
    print(f"{'work':44} {'ours':>12} {'plain':>12} {'ratio':>7}  unit")
    with exact_arithmetic():
        rows = measured(device, size)
    for row in rows:
        print(f"{row.work:44} {row.ours:12.4g} {row.plain:12.4g} {row.ours / row.plain:7.2f}  {row.unit}  {row.note}")
    if given.output:
        record = {"hardware": hardware, "torch": torch.__version__, "size": given.size, "rows": list(map(asdict, rows))}
        given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def measured(device: torch.device, size: Size) -> list[Row]:
    """All rows, in order: matrices, features, scores, training, gradient matching."""
    rates = _matrix_rates(device, size)
    parts = [_features(device, size), [_transfer(device, size)], _training(device, size, rates[-1].ours)]
    return [*rates, *chain.from_iterable(parts), *_matching(device, size)]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The least wall time of a call, after one that does not count; the device is waited for on both sides."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    found = []
    for _ in range(ROUNDS):
        wait()
        started = time.perf_counter()
        work()
        wait()
        found.append(time.perf_counter() - started)
    return min(found)


def _matrix_rates(device: torch.device, size: Size) -> list[Row]:
    """TFLOP/s of a square product; plain is float32 as it is."""
    import torch

    from poisonsets.victims.precision import exact_arithmetic

    one = torch.rand(size.matrix, size.matrix, device=device)
    flop, half = 2 * size.matrix**3 / 1e12, one.bfloat16()
    plain = flop / seconds(lambda: one @ one, device)
    with exact_arithmetic("tf32"):
        rounded = flop / seconds(lambda: one @ one, device)
    rates = {"fp32": plain, "tf32": rounded, "bf16": flop / seconds(lambda: half @ half, device)}
    return [Row(f"matrix product, {name}", rate, plain, "TFLOP/s") for name, rate in rates.items()]


def _network(size: Size) -> Any:
    import torch

    from poisonsets.victims.networks import build

    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.25", "0.25"))
    return build("resnet18", 10, size.width, *normal, generator=torch.Generator().manual_seed(0)).eval()


def _apart(size: Size, device: torch.device) -> Any:
    """The network as a first script would have it: channels-first, batch normalisation a layer of its own."""
    import torch
    from benchmarks.case_gradients import taken_apart

    network = copy.deepcopy(_network(size)).to(memory_format=torch.contiguous_format)
    taken_apart(network)
    return network.to(device)


def _features(device: torch.device, size: Size) -> list[Row]:
    import torch

    from poisonsets.surrogates import Surrogate

    images, plain = torch.rand(size.images, 3, 32, 32, device=device), _apart(size, device)
    rows = []
    with torch.no_grad():
        slow = size.images / seconds(lambda: plain.features(images), device)
        for precision in PRECISIONS:
            frozen = Surrogate(_network(size), tuple(range(10)), device, precision)
            rate = size.images / seconds(partial(frozen.features, images), device)
            rows.append(Row(f"features, {precision}", rate, slow, "images/s"))
    return rows


def _transfer(device: torch.device, size: Size) -> Row:
    from benchmarks.case_transfer import scored

    every, one = (seconds(partial(scored, 1, trials, device=device), device) for trials in (size.trials, 1))
    note = f"{size.trials} trials and their controls, 40 epochs, resnet18 x0.125; plain: a trial at a time"
    return Row("transfer score", size.trials / every, 1 / one, "trials/s", note)


def _training(device: torch.device, size: Size, most: float) -> list[Row]:
    """A scratch victim's steps by our loop, beside float32 steps on images that the host hands over."""
    import torch
    import torch.nn.functional as F

    from poisonsets.victims.training.loop import Schedule, fit
    from poisonsets.victims.training.views import apply_views

    count = size.steps * size.batch
    images = torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels, resident = torch.arange(count) % 10, images.to(device)
    schedule = Schedule(1, size.batch, "0.1", (), "0.1", "0.9", "0.0002", 4, True)

    def ours(precision: Precision) -> None:
        network = _network(size).to(device).to(memory_format=torch.channels_last).train()

        def look(here: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
            return apply_views(resident[here], views, 4, flip=True)

        drawing = torch.Generator().manual_seed(1)
        fit(network, look, labels.to(device), schedule, generator=drawing, precision=precision)

    def plain() -> None:
        network = _apart(size, device).train()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
        for start in range(0, count, size.batch):
            some = images[start : start + size.batch].permute(0, 3, 1, 2).contiguous().to(device).float() / 255
            loss = F.cross_entropy(network(some), labels[start : start + size.batch].to(device))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            loss.item()

    slow, rows = count / seconds(plain, device), []
    for precision in PRECISIONS:
        rate = count / seconds(partial(ours, precision), device)
        share = 3 * FORWARD_FLOP * float(size.width) ** 2 * rate / 1e12 / most
        note = f"{share:.3f} of the measured bf16 rate"
        rows.append(Row(f"training from scratch, {precision}", rate, slow, "images/s", note))
    return rows


def _matching(device: torch.device, size: Size) -> list[Row]:
    import torch
    from benchmarks.case_gradients import double_backward

    from poisonsets.methods.gradients import cosine, match_gradient, weight_gradient
    from poisonsets.surrogates import Surrogate

    images = torch.rand(size.batch, 3, 32, 32, device=device)
    labels, apart = torch.full((size.batch,), 3, device=device), _apart(size, device)
    loss = torch.nn.functional.cross_entropy(apart(images[:1]), labels[:1])
    aims = torch.autograd.grad(loss, list(apart.parameters()))
    slow, rows = size.batch / seconds(partial(double_backward, apart, images, labels, aims), device), []
    for precision in PRECISIONS:
        surrogate = Surrogate(_network(size), tuple(range(10)), device, precision)
        mismatch = cosine(weight_gradient(surrogate, images[:1], labels[:1]))
        rate = size.batch / seconds(partial(match_gradient, surrogate, images, labels, mismatch), device)
        rows.append(Row(f"gradient-matching step, {precision}", rate, slow, "images/s"))
    return rows


if __name__ == "__main__":
    # Both: beside tests/poisonsets, which is no package, the real one has to be found.
    sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (2, 1)]
    sys.exit(main())
