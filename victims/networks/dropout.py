"""Dropout for as long as a `with` block runs, on the output of every block of a network.

Source: the dropout networks that Zhu et al. (2019, "Transferable Clean-Label Poisoning Attacks on Deep Neural Nets")
train and craft on. What differs: masks come from a generator that is passed in, and dropout acts in eval mode too, on
folded networks as on live ones, because the network itself is left as it is.

A mask is a function of its place in the pass and of two keys, computed where the values are: the generator, which is on
the CPU, gives the keys alone. So masks are the same on every device, and a GPU is not kept waiting for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.classifier import Body, Classifier

_BITS: Final = 2**31
_AT_ONCE: Final = 2**17
"""Values a CPU mixes at a time, so that they stay in its cache; a GPU takes all."""


@contextmanager
def dropping(network: Classifier, rate: float, generator: torch.Generator) -> Iterator[None]:
    """Within the block, every forward pass of the network draws new masks and applies them.

    There is one mask value for each value of each output of `Body.outputs`; keys are drawn in the order of use, two for
    each output. Gradients flow through the values kept.

    Args:
        network: folded or not, in either mode; restored when the block ends.
        rate: the probability, 0 <= rate < 1, that a value becomes 0; the others are divided by 1 - rate. At 0 nothing
            is drawn.
        generator: on the CPU.

    Raises:
        UsageError: the rate is out of range, or the network names no outputs to drop.
    """
    if not 0 <= rate < 1:
        raise UsageError(f"dropout is {rate}, wanted at least 0 and below 1")
    body = network.body
    outputs = body.outputs() if isinstance(body, Body) else ()
    if rate > 0 and not outputs:
        raise UsageError(f"the network {network.spec.name} names no outputs to drop", "Use no dropout")

    below = min(round(rate * 2 * _BITS), 2 * _BITS - 1) - _BITS

    def drop(_module: nn.Module, _inputs: object, values: Tensor) -> Tensor:
        kept = random_bits(values.shape, generator, values.device) >= below
        return values * (kept.to(values.dtype) / (1 - rate))

    hooks = [output.register_forward_hook(drop) for output in outputs] if rate > 0 else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def random_bits(shape: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Integers drawn alike from all of int32, the same on every device: [*shape] on the device.

    Source: the integer hash `lowbias32` of Wellons (2018, "Prospecting for Hash Functions") of each value's place, the
    first draw's key added before it and the second one's in its middle, so that two draws are not parts of one
    sequence. Products wrap around.

    Args:
        shape: of fewer than 2^31 values.
        generator: on the CPU; gives two keys, whatever the shape.
        device: where they are computed.
    """
    first, second = torch.randint(-_BITS, _BITS, (2,), generator=generator).tolist()
    found = torch.arange(shape.numel(), dtype=torch.int32, device=device)
    at_once = _AT_ONCE if device.type == "cpu" else max(1, len(found))
    for start in range(0, len(found), at_once):
        part = found[start : start + at_once]
        part.add_(first)
        _shift_and_mix(part, 16)
        part.mul_(0x7FEB352D).add_(second)
        _shift_and_mix(part, 15)
        part.mul_(0x846CA68B - 2 * _BITS)  # as a number of 32 bits with a sign
        _shift_and_mix(part, 16)
    return found.view(shape)


def _shift_and_mix(values: Tensor, places: int) -> None:
    # Torch shifts the sign in, a hash wants zeros.
    values.bitwise_xor_((values >> places).bitwise_and_(2 * _BITS - 1 >> places))
