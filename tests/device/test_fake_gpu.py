"""The fake GPU refuses what CUDA refuses, allows what it allows, and is gone when its block ends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from device.fake_gpu import DEVICE, Gpu, fake_gpu, on_gpu
from torch import Tensor, nn

from poisonsets.budget import nearest_levels
from poisonsets.methods.pairing import greedy

Case = Callable[[Tensor, Tensor], Any]


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with fake_gpu() as gpu:
        yield gpu


def there() -> Tensor:
    return torch.ones(4, 3, device=DEVICE)


def rows(device: str = "cpu") -> Tensor:
    return torch.zeros(2, dtype=torch.int64, device=device)


def picture(device: str) -> Tensor:
    return torch.ones(1, 3, 4, 4, device=device)


def drawing() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def layer() -> nn.Linear:
    return nn.Linear(3, 2).to(DEVICE)


def gradient(of: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    return torch.autograd.grad(of(leaf).sum(), leaf)[0]


def fused_step(layout: torch.memory_format) -> Tensor:
    """Two steps of a channels-last parameter whose momentum buffer has a layout of its own in between."""
    value = torch.ones(2, 3, 2, 2, device=DEVICE).contiguous(memory_format=torch.channels_last).requires_grad_()
    optimizer = torch.optim.SGD([value], lr=0.1, momentum=0.9, fused=True)
    for _step in range(2):
        value.grad = torch.ones_like(value)
        optimizer.step()
        buffers = optimizer.state[value]
        buffers["momentum_buffer"] = buffers["momentum_buffer"].contiguous(memory_format=layout)
    return value


def cast(x: Tensor) -> Tensor:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found: Tensor = layer()(x)
    assert found.dtype == torch.bfloat16
    return found


def volume(sides: int) -> Tensor:
    return torch.ones(1, 1, *[4] * sides, device=DEVICE)


def enlarged(mode: str, sides: int) -> Tensor:
    return gradient(lambda z: F.interpolate(z, scale_factor=2, mode=mode), volume(sides))


def padded(mode: str, sides: int) -> Tensor:
    named = {"reflection": "reflect", "replication": "replicate"}[mode]
    return gradient(lambda z: F.pad(z, (1, 1) * sides, mode=named), volume(sides))


# x is on the GPU, y on the CPU; both float32 [4, 3].
REFUSED: dict[str, Case] = {
    "a sum": lambda x, y: x + y,
    "a sum, the CPU first": lambda x, y: y + x,
    "a sum in place": lambda x, y: x.add_(y),
    "a total there plus values here": lambda x, y: x.sum() + y,
    "where": lambda x, y: torch.where(x > 0, x, y),
    "lerp": lambda x, y: torch.lerp(x, y, 0.5),
    "cat": lambda x, y: torch.cat([x, y]),
    "stack": lambda x, y: torch.stack([x, y]),
    "a stack of totals": lambda x, y: torch.stack([x.sum(), y.sum()]),
    "a matrix product": lambda x, y: x @ y.T,
    "a batched product": lambda x, y: torch.bmm(x[None], y.T[None]),
    "a layer": lambda x, y: layer()(y),
    "a convolution": lambda x, y: F.conv2d(picture("cuda"), torch.ones(2, 3, 3, 3)),
    "a sampled grid": lambda x, y: F.grid_sample(picture("cuda"), torch.zeros(1, 2, 2, 2), align_corners=True),
    "cross-entropy": lambda x, y: F.cross_entropy(x, torch.zeros(4, dtype=torch.int64)),
    "equal": lambda x, y: torch.equal(x, y),
    "gather": lambda x, y: x.gather(0, rows()[None]),
    "index_select": lambda x, y: x.index_select(0, rows()),
    "index_copy": lambda x, y: x.index_copy_(0, torch.arange(2), x[:2].clone()),
    "scatter_add": lambda x, y: x.scatter_add_(0, torch.zeros(4, 3, dtype=torch.int64), x),
    "scatter_reduce of truth values": lambda x, y: (x > 0).scatter_reduce(0, rows("cuda")[None], x[:1] > 0, "amax"),
    "masked_fill": lambda x, y: x.masked_fill_(y > 0, 1.0),
    "rows here by an index there": lambda x, y: y[rows("cuda")],
    "values here by a mask there": lambda x, y: y[x > 0],
    "values here put into rows there": lambda x, y: x.__setitem__(rows(), y[:2]),
    "numpy": lambda x, y: x.numpy(),
    "an array": lambda x, y: np.asarray(x),
    "an array as it is": lambda x, y: x + torch.from_numpy(np.ones((4, 3), np.float32)),
    "rand with a CPU generator": lambda x, y: torch.rand(3, device=DEVICE, generator=drawing()),
    "randperm with a CPU generator": lambda x, y: torch.randperm(3, device=DEVICE, generator=drawing()),
    "uniform_ with a CPU generator": lambda x, y: x.uniform_(0, 1, generator=drawing()),
    "a backward pass": lambda x, y: gradient(lambda z: z * y, x),
    "a fused step with a buffer laid otherwise": lambda x, y: fused_step(torch.contiguous_format),
}
ON_THE_GPU: dict[str, Case] = {
    "a number from here": lambda x, y: x + torch.tensor(2.0),
    "rows by an index here": lambda x, y: x[rows()],
    "rows by a list": lambda x, y: x[[0, 1]],
    "copy_": lambda x, y: x.copy_(y),
    "to": lambda x, y: y.to(DEVICE),
    "cuda": lambda x, y: y.cuda(),
    "zeros_like": lambda x, y: x + torch.zeros_like(x),
    "new_zeros": lambda x, y: x + x.new_zeros(4, 3),
    "arange": lambda x, y: x[:, 0] + torch.arange(4, device=x.device),
    "pad": lambda x, y: F.pad(x, (1, 1)) + x.new_zeros(4, 5),
    "one_hot": lambda x, y: F.one_hot(torch.zeros(4, dtype=torch.int64, device=DEVICE), 3) + x,
    "pad_sequence": lambda x, y: nn.utils.rnn.pad_sequence([x, x[:2]]) + x.new_zeros(1),
    "eigenvalues": lambda x, y: torch.linalg.eigvalsh(torch.eye(3, device=DEVICE)) + x[0],
    "cdist": lambda x, y: torch.cdist(x, x) + x.new_zeros(4, 4),
    "sort": lambda x, y: x.sort(dim=0).values + x,
    "cumsum": lambda x, y: x.cumsum(0) + x,
    "split and cat": lambda x, y: torch.cat(x.split(2)) + x,
    "nonzero": lambda x, y: (x > 0).nonzero(),
    "a layer": lambda x, y: layer()(x),
    "a layer under autocast": lambda x, y: cast(x),
    "batch normalisation": lambda x, y: nn.BatchNorm1d(3).to(DEVICE)(x) + x,
    "a copy of a layer": lambda x, y: list(copy.deepcopy(layer()).parameters()),
    "a layer made empty": lambda x, y: list(nn.Linear(3, 2, device="meta").to_empty(device=DEVICE).parameters()),
    "a layer with values from here": lambda x, y: [layer().load_state_dict(nn.Linear(3, 2).state_dict()), x],
    "a gradient": lambda x, y: gradient(lambda z: z**2, x),
    "a gradient of rows": lambda x, y: gradient(lambda z: z[rows("cuda")], x) + x,
    "a gradient of a slice": lambda x, y: gradient(lambda z: z[1:3], x) + x,
    "a gradient of gather": lambda x, y: gradient(lambda z: z.gather(0, rows("cuda")[None]), x) + x,
    "a gradient of amax": lambda x, y: gradient(lambda z: z.amax(1), x) + x,
    "a fused step": lambda x, y: fused_step(torch.channels_last),
}
ON_THE_CPU: dict[str, Case] = {
    "cpu": lambda x, y: x.cpu(),
    "to": lambda x, y: x.to("cpu"),
    "copy_": lambda x, y: y.copy_(x),
    "numpy after cpu": lambda x, y: torch.from_numpy(x.cpu().numpy()),
    "a list": lambda x, y: torch.tensor(x.tolist()),
    "a number": lambda x, y: torch.tensor(x.sum().item()),
    "a truth value": lambda x, y: torch.tensor(bool((x > 0).all())),
    "a new tensor": lambda x, y: torch.zeros(3),
}
# By the operator's name, what gives other bytes in each run on CUDA; shapes are as small as they may be.
RANDOM: dict[str, Callable[[], Any]] = {
    "rand": lambda: torch.rand(3, device=DEVICE),
    "uniform_": lambda: there().uniform_(),
    "grid_sampler_2d_backward": lambda: gradient(
        lambda z: F.grid_sample(z, torch.zeros(1, 4, 4, 2, device=DEVICE), align_corners=True), picture("cuda")
    ),
    **{
        f"upsample_{mode}_backward": partial(enlarged, mode.rstrip("123d"), int(mode[-2]))
        for mode in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")
    },
    **{
        f"{mode}_pad{sides}d_backward": partial(padded, mode, sides)
        for mode in ("reflection", "replication")
        for sides in (1, 2, 3)
    },
    "_adaptive_avg_pool2d_backward": lambda: gradient(lambda z: F.adaptive_avg_pool2d(z, 3), picture("cuda")),
    "adaptive_max_pool2d_backward": lambda: gradient(lambda z: F.adaptive_max_pool2d(z, 3), picture("cuda")),
    "avg_pool3d_backward": lambda: gradient(lambda z: F.avg_pool3d(z, 2), picture("cuda")),
    "max_pool3d_with_indices_backward": lambda: gradient(lambda z: F.max_pool3d(z, 2), picture("cuda")),
    "max_unpool2d": lambda: F.max_unpool2d(*F.max_pool2d(picture("cuda"), 2, return_indices=True), 2),
    "nll_loss2d_forward": lambda: F.cross_entropy(picture("cuda"), torch.zeros_like(picture("cuda")[:, 0]).long()),
    "embedding_dense_backward": lambda: gradient(lambda z: F.embedding(rows("cuda"), z), there()),
    "scatter_add": lambda: gradient(lambda z: z.gather(1, rows("cuda")[None]), there()),
    "index_add": lambda: gradient(lambda z: z.index_select(0, rows("cuda")), there()),
    "index_add_": lambda: there().index_add_(0, rows("cuda"), there()[:2]),
    "put_": lambda: there().put_(rows("cuda"), there()[0, :2], accumulate=True),
    "scatter_reduce": lambda: there().scatter_reduce(0, rows("cuda")[None], there(), "sum"),
    "cumsum": lambda: there().cumsum(0),
    "median": lambda: there().median(0),
    "kthvalue": lambda: there().kthvalue(1),
    "histc": lambda: there().histc(2),
    "bincount": lambda: torch.bincount(rows("cuda"), weights=there()[0, :2]),
}
NOT_RANDOM: dict[str, Callable[[], Any]] = {
    "a mean of all places": lambda: gradient(lambda z: F.adaptive_avg_pool2d(z, 1), picture("cuda")),
    "a pool": lambda: gradient(lambda z: F.max_pool2d(z, 2), picture("cuda")),
    "an enlarged picture": lambda: gradient(lambda z: F.interpolate(z, 8), picture("cuda")),
    "a sum of integers": lambda: rows("cuda").index_add_(0, rows("cuda"), rows("cuda")),
    "a running sum of integers": lambda: rows("cuda").cumsum(0),
    "the largest by index": lambda: there().scatter_reduce(0, rows("cuda")[None], there(), "amax"),
    "a count": lambda: torch.bincount(rows("cuda")),
    "a sum of one value a place": lambda: there().scatter_add_(1, torch.arange(3, device=DEVICE)[None], there()),
    "rows by an index": lambda: gradient(lambda z: z[rows("cuda")], there()),
    "a loss": lambda: gradient(lambda z: F.cross_entropy(z[:2], rows("cuda")), there()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cuda_refuses_raises(gpu: Gpu, case: str) -> None:
    with pytest.raises((RuntimeError, TypeError)):
        REFUSED[case](there(), torch.ones(4, 3))
    assert gpu.faults.total() == 1


@pytest.mark.parametrize("case", ON_THE_GPU)
def test_what_cuda_computes_is_on_the_gpu(gpu: Gpu, case: str) -> None:
    found = ON_THE_GPU[case](there(), torch.ones(4, 3))
    tensors = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, Tensor)]
    assert {(one.device, one.is_cuda) for one in tensors} == {(DEVICE, True)}
    assert not gpu.faults


@pytest.mark.parametrize("case", ON_THE_CPU)
def test_what_comes_back_is_on_the_cpu(gpu: Gpu, case: str) -> None:
    found = ON_THE_CPU[case](there(), torch.ones(4, 3))
    assert (found.device.type, found.is_cuda) == ("cpu", False)
    assert not gpu.faults


def test_where_a_tensor_already_is_it_stays_the_same(gpu: Gpu) -> None:
    x, y = there(), torch.ones(3)
    assert x.to(DEVICE) is x
    assert y.cpu() is y
    assert not gpu.syncs


def test_what_is_pinned_goes_without_a_wait_if_nobody_asks_for_one(gpu: Gpu) -> None:
    pinned = torch.ones(4).pin_memory()
    assert on_gpu(pinned.to(DEVICE, non_blocking=True))
    assert not gpu.syncs
    for found in (pinned.to(DEVICE), torch.ones(4).to(DEVICE, non_blocking=True)):
        assert on_gpu(found)
    there().to("cpu", non_blocking=True)
    assert gpu.syncs.total() == 3
    with pytest.raises(RuntimeError, match="pin"):
        there().pin_memory()


def test_statistics_are_refused_until_cuda_has_begun(gpu: Gpu) -> None:
    with pytest.raises(RuntimeError, match="did you call init"):
        torch.cuda.reset_peak_memory_stats(DEVICE)
    there()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    assert gpu.faults.total() == 1


def test_waits_and_launches_are_counted_by_the_line_that_asked(gpu: Gpu) -> None:
    greedy(torch.eye(2, device=DEVICE)[None], torch.arange(2, device=DEVICE)[None])
    assert not gpu.syncs
    assert gpu.launches.total() > 10
    assert all(line.startswith("poisonsets.methods.pairing:") for _, line in gpu.launches)
    nearest_levels(torch.ones((1, 3, 2, 2), device=DEVICE))
    ((_, line),) = gpu.syncs
    assert line.startswith("poisonsets.budget:")
    assert not gpu.random


@pytest.mark.parametrize("operator", RANDOM)
def test_what_gives_other_bytes_in_each_run_is_noted(gpu: Gpu, operator: str) -> None:
    RANDOM[operator]()
    assert {name for name, _ in gpu.random} == {operator}


@pytest.mark.parametrize("case", NOT_RANDOM)
def test_what_gives_the_same_bytes_in_each_run_is_not_noted(gpu: Gpu, case: str) -> None:
    NOT_RANDOM[case]()
    assert gpu.launches
    assert not gpu.random


def test_nothing_is_left_of_it() -> None:
    available = torch.cuda.is_available()
    with fake_gpu():
        assert torch.cuda.is_available()
        kept = there()
    assert torch.cuda.is_available() == available
    assert not {"device", "is_cuda"} & set(vars(Tensor))
    assert (on_gpu(kept), kept.device.type) == (True, "cpu")
