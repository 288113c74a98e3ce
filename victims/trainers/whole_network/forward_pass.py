"""The forward pass that training repeats, compiled once for all victims of a network where that pays."""

import importlib.util
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from poisonsets.manifests.bases.dataset import Base
from poisonsets.victims.device import device_refusal
from poisonsets.victims.networks import Classifier
from poisonsets.victims.precision import Precision, autocast, exact_arithmetic
from poisonsets.victims.protocols import Protocol

WORTH: Final = 2000
"""Training steps of a victim from which compiling pays: a fixed number, never a measurement."""


def forward_of(network: Classifier, protocol: Protocol, base: Base, precision: Precision) -> Callable[[Tensor], Tensor]:
    """From images float32 [N, 3, H, W] to logits, with gradients.

    Compiled on a GPU for victims from scratch that take at least `WORTH` steps, never on a CPU, where that gains
    nothing. The network itself where the compiler is missing or refuses; any other error is the caller's.

    Args:
        network: on the device; its values and statistics change, so initialise it afterwards.
        protocol, base: what victims are trained by and on.
        precision: of the forward pass.

    Raises:
        RuntimeError: as PyTorch, where memory ran out or the device failed.
    """
    steps = protocol.epochs * (len(base.train.labels) // protocol.batch)
    device = network.mean.device
    if device.type != "cuda" or protocol.training != "scratch" or steps < WORTH:
        return network
    if importlib.util.find_spec("triton") is None:
        return network
    from torch._dynamo.exc import TorchDynamoException  # takes a second to load

    compiled: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
    probe = torch.zeros(protocol.batch, 3, *base.train.side, device=device).contiguous(
        memory_format=torch.channels_last
    )
    network.train()
    try:
        # What is compiled under other switches is compiled again when training begins.
        with exact_arithmetic(precision):
            with autocast(device, precision):
                total = compiled(probe).float().sum()
            torch.autograd.backward(total)
    except TorchDynamoException as error:  # the class of all compiler errors, also around what others raised
        if device_refusal(error, str(device), ""):
            raise
        return network
    finally:
        network.zero_grad(set_to_none=True)
    return compiled
