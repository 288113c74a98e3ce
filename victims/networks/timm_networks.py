"""`timm:NAME`: any timm classifier that ends in a linear layer, with weights drawn here.

Source: Wightman, PyTorch Image Models (timm). Weights are never downloaded: networks are asked for by the exact name of
a registered architecture, without a tag, without pretrained weights. They are drawn as timm draws them, but from the
generator passed in. What differs from timm's networks: no dropout and no stochastic depth happens, which would draw
from PyTorch's global generator; the head is ours, with PyTorch's default initialisation. There is no width multiplier.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any, Final

from torch import nn

from poisonsets.victims.networks import Collection, collect
from poisonsets.victims.networks.classifier import Body, refuse_width
from poisonsets.victims.networks.library import Graph, LibraryBody, has_weights, is_container

_CLASSES: Final = 1  # of the head that is taken off; some architectures have none unless asked for one


@cache
def _members() -> tuple[str, ...]:
    import timm

    return tuple(timm.list_models())


def _model(name: str) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=_CLASSES)
    return model


def _last_block(model: nn.Module) -> nn.Module:
    """The last block of the last stage; behind it there is at most a convolution to more channels, and the pooling."""
    blocks = [block for child in model.children() if is_container(child) for block in _blocks(child)]
    weighted = [block for block in blocks or model.children() if has_weights(block, nn.Conv2d, nn.Linear)]
    return weighted[-1]


def _blocks(container: nn.Module) -> Iterator[nn.Module]:
    """What a container holds, also inside further containers and inside stages that name their blocks."""
    for block in container.children():
        inner = block if is_container(block) else getattr(block, "blocks", None)
        if isinstance(inner, nn.Module) and is_container(inner):
            yield from _blocks(inner)
        else:
            yield block


@cache
def _graph() -> Graph:
    import timm.layers

    layers: Any = timm.layers  # without types
    return Graph(tuple(layers.get_notrace_modules()), tuple(layers.get_notrace_functions()), (layers.Conv2dSame,))


def _made(name: str, width: str) -> tuple[Body, int]:
    spelled = f"timm:{name}"
    refuse_width(spelled, width)
    body = LibraryBody(spelled, partial(_model, name), _last_block, _graph())
    return body, body.feature_width


collect("timm", Collection(_members, _made))
