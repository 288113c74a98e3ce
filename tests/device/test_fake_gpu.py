"""The fake GPU refuses what CUDA refuses, allows what it allows, and is gone when its block ends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from device.fake_gpu import DEVICE, Gpu, fake_gpu, on_gpu
from torch import Tensor, nn

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
    ((_, line),) = gpu.syncs
    assert line.startswith("poisonsets.methods.pairing:")
    assert gpu.launches.total() > 10
    assert not gpu.random


def test_what_gives_other_bytes_in_each_run_is_noted(gpu: Gpu) -> None:
    torch.rand(3, device=DEVICE)
    there().uniform_()
    corners = torch.zeros(1, 4, 4, 2, device=DEVICE)
    gradient(lambda z: F.grid_sample(z, corners, align_corners=True), picture("cuda"))
    assert {name for name, _ in gpu.random} >= {"uniform_", "grid_sampler_2d_backward"}


def test_nothing_is_left_of_it() -> None:
    available = torch.cuda.is_available()
    with fake_gpu():
        assert torch.cuda.is_available()
        kept = there()
    assert torch.cuda.is_available() == available
    assert not {"device", "is_cuda"} & set(vars(Tensor))
    assert (on_gpu(kept), kept.device.type) == (True, "cpu")
