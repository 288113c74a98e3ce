"""A network with dropout for as long as a block runs: every block's output values are dropped at random.

Source: the dropout networks that Zhu et al. (2019, "Transferable Clean-Label Poisoning Attacks on Deep Neural Nets")
train and craft on. What differs: masks come from a generator that is passed in, and dropout acts in eval mode too, on
folded networks as on live ones, because the network itself is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.classifier import Body, Classifier


@contextmanager
def dropping(network: Classifier, rate: float, generator: torch.Generator) -> Iterator[None]:
    """While the `with` block runs, every forward pass of the network draws new masks and drops by them.

    A mask has a value for each value of each output of `Body.outputs`, in the order of their use: a draw depends on
    the shape of the batch. Gradients flow through the values that are kept.

    Args:
        network: any network of `networks`, folded or not, in either mode; as before once the block ends.
        rate: the probability in 0..1, below 1, that a value becomes 0; the others are divided by 1 - rate. With 0
            nothing is changed and nothing drawn.
        generator: a CPU generator, so that masks are the same on every device.

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
