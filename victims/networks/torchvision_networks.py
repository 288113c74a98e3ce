"""`torchvision:NAME`: any torchvision classifier up to its last linear layer, with weights drawn here.

Weights are never downloaded; they are drawn as torchvision draws them, but from the generator passed in. What differs
from torchvision's networks: there are no auxiliary classifiers, no dropout and no stochastic depth, which would draw
from PyTorch's global generator; the head is ours, with PyTorch's default initialisation. There is no width multiplier.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import Collection, collect
from poisonsets.victims.networks.classifier import Body
from poisonsets.victims.networks.initial import pytorch_defaults

_OPTIONS = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}
_DRAWS = ("uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_")


def _members() -> tuple[str, ...]:
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


class _GeneratorMode(TorchFunctionMode):
    """Makes a network's constructor, which takes no generator, draw from one."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in (torch.arange, torch.tensor):
            given.setdefault("device", "cpu")  # regnets compute layer sizes from these
        elif func.__name__ in _DRAWS:
            given["generator"] = self.generator
        return func(*args, **given)


class _TorchvisionBody(Body):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.model, self.feature_width = _stripped(name, torch.Generator())
        self._entered: Tensor | None = None
        # A bound method, so that a copy of this body gets a hook of its own.
        _last_block(self.model).register_forward_pre_hook(self._remember)

    def _remember(self, _block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._entered = inputs[0]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        try:
            features: Tensor = self.model(images)
        except AssertionError as error:  # how transformers refuse images of another size
            raise ValueError(str(error)) from error
        finally:
            before, self._entered = self._entered, None
        if before is None:
            raise RuntimeError(f"torchvision:{self.name} never used the block that it should end in")
        return before, features

    def initialise(self, head: nn.Linear, generator: torch.Generator) -> None:
        with torch.device("cpu"):
            drawn, _ = _stripped(self.name, generator)
        self.model.load_state_dict(drawn.state_dict(), assign=True)
        pytorch_defaults(head, generator)

    def outputs(self) -> tuple[nn.Module, ...]:
        pieces = list(_pieces(self.model))
        found = []
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
            if _weighs(piece, nn.Conv2d, nn.Linear):
                # Dropped in front of its normalisation, a value would not be 0 behind it.
                found.append(following if isinstance(following, nn.BatchNorm2d) else piece)
        return tuple(found)


def _stripped(name: str, generator: torch.Generator) -> tuple[nn.Module, int]:
    """The network without its last linear layer, on the default device, and the width of that layer's input."""
    import torchvision
    from torchvision.ops import StochasticDepth

    with _GeneratorMode(generator):
        model: nn.Module = torchvision.models.get_model(name, weights=None, **_OPTIONS.get(name, {}))
    linear = [(place, module) for place, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UsageError(f"torchvision:{name} does not end in a linear layer", "Use another network")
    head, last = linear[-1]
    model.set_submodule(head, nn.Identity())
    for place, module in list(model.named_modules()):
        if isinstance(module, nn.Dropout | StochasticDepth):
            model.set_submodule(place, nn.Identity())
    return model.to(torch.get_default_device()), last.in_features


def _pieces(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that a network applies one after the other, as far as its containers tell."""
    for child in model.children():
        if isinstance(child, nn.ModuleList) or type(child).forward is nn.Sequential.forward:
            yield from _pieces(child)
        else:
            yield child


def _weighs(piece: nn.Module, *kinds: type[nn.Module]) -> bool:
    return any(isinstance(module, kinds) for module in piece.modules())


def _last_block(model: nn.Module) -> nn.Module:
    """The last piece with a convolution; in transformers, the patch embedding."""
    return [piece for piece in _pieces(model) if _weighs(piece, nn.Conv2d)][-1]


def _made(name: str, width: str) -> tuple[Body, int]:
    if width != "1":
        raise UsageError(f"torchvision:{name} has width 1 only, found {width}", "Leave the width out")
    body = _TorchvisionBody(name)
    return body, body.feature_width


collect("torchvision", Collection(_members, _made))
