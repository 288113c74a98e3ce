"""Dropout for as long as a `with` block runs, on the output of every block of a network.

Source: the dropout networks that Zhu et al. (2019, "Transferable Clean-Label Poisoning Attacks on Deep Neural Nets")
train and craft on. What differs: masks come from a generator that is passed in, and dropout acts in eval mode too, on
folded networks as on live ones, because the network itself is left as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.classifier import Body, Classifier


@contextmanager
def dropping(network: Classifier, rate: float, generator: torch.Generator) -> Iterator[None]:
    """Within the block, every forward pass of the network draws new masks and applies them.

    There is one mask value for each value of each output of `Body.outputs`, drawn in the order of use: draws depend on
    the batch's shape. Gradients flow through the values kept.

    Args:
        network: folded or not, in either mode; restored when the block ends.
        rate: the probability, 0 <= rate < 1, that a value becomes 0; the others are divided by 1 - rate. At 0 nothing
            is drawn.
        generator: on the CPU, so that masks are the same on every device.

    Raises:
        UsageError: the rate is out of range, or the network names no outputs to drop.
    """
    if not 0 <= rate < 1:
        raise UsageError(f"dropout is {rate}, wanted at least 0 and below 1")
    body = network.body
    outputs = body.outputs() if isinstance(body, Body) else ()
    if rate > 0 and not outputs:
        raise UsageError(f"the network {network.spec.name} names no outputs to drop", "Use no dropout")

    def drop(_module: nn.Module, _inputs: object, values: Tensor) -> Tensor:
        kept = torch.rand(values.shape, generator=generator) >= rate
        return values * (kept.to(values.device, values.dtype) / (1 - rate))

    hooks = [output.register_forward_hook(drop) for output in outputs] if rate > 0 else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
