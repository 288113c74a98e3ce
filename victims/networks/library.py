"""A classifier of another library as a body: without its last linear layer, its weights drawn from our generator.

Both libraries' constructors draw from PyTorch's global generator; here they draw from the one passed in. Dropout and
stochastic depth, which would draw from the global one in training, have probability 0.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.classifier import Body
from poisonsets.victims.networks.initial import pytorch_defaults

_DRAWS: Final = frozenset(
    (
        *("uniform_", "normal_", "trunc_normal_", "bernoulli_", "kaiming_uniform_", "kaiming_normal_"),
        *("xavier_uniform_", "xavier_normal_", "rand", "randn", "randint", "randperm"),
    )
)
# Constructors compute layer sizes from these, which the device `meta` cannot.
_COMPUTES: Final = (torch.arange, torch.tensor, torch.linspace)

Make: TypeAlias = Callable[[], nn.Module]
"""Calls the library's constructor, which draws weights and allocates on the default device."""
LastBlock: TypeAlias = Callable[[nn.Module], nn.Module]
"""From a library's network without its head to the block that its forward pass ends in."""


@dataclass(frozen=True)
class Graph:
    """What a library needs so that its networks can be traced.

    Attributes:
        leaves: modules that are not looked into.
        functions: functions that are not looked into.
        convolutions: kinds that are linear in their weights, besides `nn.Conv2d`.
    """

    leaves: tuple[type[nn.Module], ...] = ()
    functions: tuple[Callable[..., Any], ...] = ()
    convolutions: tuple[type[nn.Conv2d], ...] = ()


class Activation(nn.Module):
    """What is left of a batch normalisation with an activation once its convolution does the former."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.steps = nn.Sequential(*modules)

    def forward(self, values: Tensor) -> Tensor:
        """float32 of any shape to float32 of that shape."""
        found: Tensor = self.steps(values)
        return found


class _Tracer(fx.Tracer):
    def __init__(self, graph: Graph) -> None:
        super().__init__(autowrap_functions=graph.functions)
        self._leaves = (nn.BatchNorm2d, nn.Conv2d, *graph.leaves)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves) or super().is_leaf_module(m, module_qualified_name)


class _GeneratorMode(TorchFunctionMode):
    """Makes a network's constructor, which takes no generator, draw from one."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in _COMPUTES:
            given.setdefault("device", "cpu")
        elif func.__name__ in _DRAWS:
            given["generator"] = self.generator
        return func(*args, **given)


_PLAIN: Final = Graph()


class LibraryBody(Body):
    """A library's network up to the input of its last linear layer.

    Args:
        name: as a user spells it, for errors.
        make: makes the library's network.
        last_block: finds the block whose input is the map of end-to-end attacks.
        graph: what tracing needs.

    Attributes:
        model: the library's network, an identity in the place of its head; its tensors have the library's names.
        head_place: the name of that head in the library's network.
        feature_width: the width of its input.

    Raises:
        UsageError: the network does not end in a linear layer.
    """

    def __init__(self, name: str, make: Make, last_block: LastBlock, graph: Graph = _PLAIN) -> None:
        super().__init__()
        self.name, self._make, self._graph = name, make, graph
        self.model = drawn(make, torch.Generator())
        self.head_place, head = _head(self.model, name)
        self.model.set_submodule(self.head_place, nn.Identity())
        self.feature_width = head.in_features
        self.made_for = getattr(self.model, "default_cfg", {}).get("input_size", (None,))[-1]  # timm's
        self._entered: Tensor | None = None
        # Bound methods, so that a copy of this body gets hooks of its own.
        last_block(self.model).register_forward_pre_hook(self._remember)
        self.register_load_state_dict_post_hook(self._computed_again)  # type: ignore[no-untyped-call]

    def _remember(self, _block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._entered = inputs[0]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `Body`; tokens [N, T, C] that enter the last block are the map [N, C, T, 1]."""
        try:
            features: Tensor = self.model(images)
        except AssertionError as error:  # how transformers refuse images of another size
            raise ValueError(str(error)) from error
        finally:
            before, self._entered = self._entered, None
        if before is None:
            raise RuntimeError(f"{self.name} never used the block that it should end in")
        if before.dim() == 3:
            before = before.transpose(1, 2)[..., None]
        elif getattr(self.model, "output_fmt", None) == "NHWC":  # timm's
            before = before.permute(0, 3, 1, 2)
        return before, features

    def initialise(self, head: nn.Linear, generator: torch.Generator) -> None:
        """The library's own initialisation, then PyTorch's default one for the head."""
        with torch.device("cpu"):
            model = drawn(self._make, generator)
        model.set_submodule(self.head_place, nn.Identity())
        self.model.load_state_dict(model.state_dict(), assign=True)
        self._fill(model)
        pytorch_defaults(head, generator)

    def _computed_again(self, *_: object) -> None:
        """After a state is loaded: buffers that no state holds are computed anew by the constructor."""
        if next(_unsaved(self.model), None) is not None:
            with torch.device("cpu"):
                self._fill(drawn(self._make, torch.Generator()))

    def _fill(self, model: nn.Module) -> None:
        for place, buffer in _unsaved(self.model):
            value = model.get_buffer(place)
            parent, _, name = place.rpartition(".")
            device = value.device if buffer.is_meta else buffer.device
            self.model.get_submodule(parent).register_buffer(name, value.to(device), persistent=False)

    def outputs(self) -> tuple[nn.Module, ...]:
        """The library's blocks with weights, or the batch normalisation behind one."""
        pieces = list(pieces_of(self.model))
        found = []
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
            if has_weights(piece, nn.Conv2d, nn.Linear):
                # Dropped in front of its normalisation, a value would not be 0 behind it.
                found.append(following if isinstance(following, nn.BatchNorm2d | Activation) else piece)
        return tuple(found)

    def normalised(self) -> tuple[tuple[str, str], ...]:
        """As `Body.normalised`; empty where the library's network cannot be traced."""
        try:
            nodes = list(_Tracer(self._graph).trace(self.model).nodes)
        except (TypeError, ValueError, AttributeError, RuntimeError, AssertionError, NotImplementedError, KeyError):
            return ()  # what its forward pass does with sizes or values is more than a trace can follow
        finally:
            self._entered = None
        used = Counter(node.target for node in nodes if node.op == "call_module")
        linear = (nn.Conv2d, *self._graph.convolutions)
        found = []
        for node in nodes:
            before = node.args[0] if node.args else None
            if node.op != "call_module" or not isinstance(before, fx.Node) or before.op != "call_module":
                continue
            once = used[node.target] == used[before.target] == len(before.users) == 1
            conv = self.model.get_submodule(str(before.target))
            norm = self.model.get_submodule(str(node.target))
            normal = isinstance(norm, nn.BatchNorm2d) and norm.affine and norm.running_var is not None
            if once and normal and type(conv) in linear:
                found.append((f"model.{before.target}", f"model.{node.target}"))
        return tuple(found)


def drawn(make: Make, generator: torch.Generator) -> nn.Module:
    """A library's network on the default device, its weights from the generator, nothing random in its passes."""
    from torchvision.ops import StochasticDepth

    with _GeneratorMode(generator):
        model = make()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | StochasticDepth):
            module.p = 0.0
        for rate in ("drop_prob", "drop_rate"):  # timm's
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    return model.to(torch.get_default_device())


def pieces_of(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that a network applies one after the other, as far as its containers tell."""
    for child in model.children():
        if is_container(child):
            yield from pieces_of(child)
        else:
            yield child


def is_container(module: nn.Module) -> bool:
    """Whether it is a list of modules that are applied one after the other, as far as one can tell."""
    return isinstance(module, nn.ModuleList) or type(module).forward is nn.Sequential.forward


def has_weights(piece: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a module of these kinds is anywhere in it."""
    return any(isinstance(module, kinds) for module in piece.modules())


def _head(model: nn.Module, name: str) -> tuple[str, nn.Linear]:
    """The place and the module of the linear layer that a network ends in.

    Raises:
        UsageError: it ends in none.
    """
    classifier = getattr(model, "get_classifier", None)  # timm's networks name theirs
    if callable(classifier):
        wanted = classifier()
        linear = [(place, m) for place, m in model.named_modules() if m is wanted and isinstance(m, nn.Linear)]
    else:
        linear = [(place, m) for place, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise UsageError(f"{name} does not end in a linear layer", "Use another network")
    return linear[-1]


def _unsaved(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that a network's state does not hold."""
    saved = model.state_dict().keys()
    yield from [(place, buffer) for place, buffer in model.named_buffers() if place not in saved]
