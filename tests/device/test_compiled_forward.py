"""The compiled forward pass of victims on a GPU, with a compiler that does as told."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from device.fake_gpu import DEVICE, fake_gpu
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException

from poisonsets.manifests.bases.dataset import Base
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.protocols import parse
from poisonsets.victims.trainers.whole_network import forward_pass

PROTOCOL = replace(parse("digits-scratch/convnet@epochs=1,width=0.0625"), batch=2)
HALF = ("0.5", "0.5", "0.5")
Forward = Callable[[Tensor], Tensor]
Compiler = Callable[[Forward], Forward]


@pytest.fixture
def network() -> Iterator[Classifier]:
    with fake_gpu():
        generator = torch.Generator().manual_seed(0)
        yield build("convnet", 10, "0.0625", HALF, HALF, generator=generator).to(DEVICE)


@pytest.fixture
def forward(network: Classifier, digits: Base, monkeypatch: pytest.MonkeyPatch) -> Callable[[Compiler], Forward]:
    """The forward pass of the network where there is this compiler."""
    find = importlib.util.find_spec

    def found(name: str, *more: Any) -> object:
        return object() if name == "triton" else find(name, *more)

    def make(compiler: Compiler) -> Forward:
        monkeypatch.setattr(forward_pass, "WORTH", 1)
        monkeypatch.setattr(importlib.util, "find_spec", found)
        monkeypatch.setattr(torch, "compile", lambda model, **_: compiler(model))
        return forward_pass.forward_of(network, PROTOCOL, digits, "fp32")

    return make


def raising(error: Exception) -> Compiler:
    def compiler(_model: Forward) -> Forward:
        def compiled(_images: Tensor) -> Tensor:
            raise error

        return compiled

    return compiler


def failed(error: Exception) -> BackendCompilerFailed:
    return BackendCompilerFailed(raising, error, None)


@pytest.mark.parametrize(
    "error", [TorchDynamoException("no"), failed(AssertionError("a bug of the compiler"))], ids=str
)
def test_a_network_that_the_compiler_refuses_trains_as_it_is(
    forward: Callable[[Compiler], Forward], network: Classifier, error: Exception
) -> None:
    assert forward(raising(error)) is network


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        failed(torch.OutOfMemoryError("CUDA out of memory")),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        failed(RuntimeError("CUDA error: unspecified launch failure")),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ],
    ids=str,
)
def test_what_is_no_refusal_of_the_compiler_is_not_hidden(
    forward: Callable[[Compiler], Forward], network: Classifier, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        forward(raising(error))
    assert raised.value is error
    assert all(value.grad is None for value in network.parameters())


def test_it_is_compiled_under_the_switches_of_training(
    forward: Callable[[Compiler], Forward], network: Classifier
) -> None:
    cudnn, config, seen = torch.backends.cudnn, torch._inductor.config, []

    def compiler(model: Forward) -> Forward:
        def compiled(images: Tensor) -> Tensor:
            seen.append((torch.get_num_threads(), cudnn.deterministic, cudnn.allow_tf32, config.deterministic))
            return model(images)

        return compiled

    assert forward(compiler) is not network
    assert seen == [(1, True, False, True)]
