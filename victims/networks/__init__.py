"""Every network family is one file of this folder; `build` makes any of them from its name and a generator.

A family registers a function from the width multiplier to (`Body`, number of features); another library's networks are
collected under a prefix. Weights are drawn from the generator passed in, never from torch's global random state.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

import torch

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.plugins import clash, load_plugins
from poisonsets.manifests.spelling import unknown
from poisonsets.victims.networks.classifier import Body, Classifier, NetworkSpec, channel_values
from poisonsets.victims.networks.shape import SHORT_NAMES, Shape, full_name

__all__ = [
    "Body",
    "Classifier",
    "Collection",
    "NetworkSpec",
    "build",
    "collect",
    "full_name",
    "names",
    "refuse_unknown",
    "register",
    "skeleton",
    "spellings",
]

Family: TypeAlias = Callable[[str], tuple[Body, int]]
"""From the width, a decimal string that multiplies every channel count, to the body and its number of features."""


@dataclass(frozen=True)
class Collection:
    """Networks of another library, each spelled `PREFIX:NAME`.

    Attributes:
        members: their names, without the prefix.
        make: from a member's name and the width multiplier to its body and number of features.
    """

    members: Callable[[], tuple[str, ...]]
    make: Callable[[str, str], tuple[Body, int]]


_FAMILIES: dict[str, Family] = {}
_COLLECTIONS: dict[str, Collection] = {}


def register(name: str) -> Callable[[Family], Family]:
    """Register a network family under its name, as a decorator; UsageError where another one has the name."""

    def put(family: Family) -> Family:
        other = _FAMILIES.setdefault(name, family)
        if other is not family:
            raise clash("networks", name, family.__module__, other.__module__)
        return family

    return put


def collect(prefix: str, collection: Collection) -> None:
    """Put a collection under its prefix; UsageError where another one has the prefix."""
    other = _COLLECTIONS.setdefault(prefix, collection)
    if other is not collection:
        raise clash("collections of networks", prefix, collection.make.__module__, other.make.__module__)


@cache
def _discover() -> None:
    load_plugins(__name__, group="poisonsets.networks")


def names() -> tuple[str, ...]:
    """The names of this folder's families, sorted; a collection lists its own `members`."""
    _discover()
    return tuple(sorted(_FAMILIES))


def spellings() -> tuple[str, ...]:
    """What a list of networks shows: `names()`, short names, then `PREFIX:NAME` once for each collection."""
    return (*names(), *SHORT_NAMES, *(f"{prefix}:NAME" for prefix in sorted(_COLLECTIONS)))


def refuse_unknown(name: str) -> None:
    """Raise a UsageError, with the nearest name or all spellings, unless `build` knows this name."""
    known = names()
    prefix, colon, member = full_name(name).partition(":")
    if colon and prefix in _COLLECTIONS:
        if member not in (members := _COLLECTIONS[prefix].members()):
            raise unknown(f"network of {prefix}", member, members)
    elif name not in known:
        raise unknown("network", name, spellings())


def build(
    name: str,
    classes: int,
    width: str,
    mean: tuple[str, str, str],
    std: tuple[str, str, str],
    *,
    input: int | None = None,
    generator: torch.Generator | None = None,
) -> Classifier:
    """A network on the CPU with its family's initialisation, in training mode.

    Args:
        name: one of `names()`, a short name, or a collection's member as `torchvision:resnet50`.
        classes: outputs of the head, at least 1.
        width: channel multiplier as a decimal string, above 0 and at most 16.
        mean, std: normalisation as decimal strings.
        input: as `NetworkSpec.input`.
        generator: on the CPU, draws the weights; seeded with 0 where left out.

    Raises:
        UsageError: the name is unknown, there is no class, the input size is out of range, or the network does not
            come in this width.
    """
    network = skeleton(NetworkSpec(name, classes, width, mean, std, input))
    network.to_empty(device="cpu")
    network.body.initialise(network.head, generator or torch.Generator().manual_seed(0))
    network.mean.copy_(channel_values(mean))
    network.std.copy_(channel_values(std))
    if input is not None:
        network.input.fill_(input)
    return network


def skeleton(spec: NetworkSpec) -> Classifier:
    """The network without memory for its tensors (device `meta`): names, shapes and dtypes only.

    Raises: as `build`.
    """
    refuse_unknown(spec.name)
    if spec.classes < 1:
        raise UsageError(f"a network with {spec.classes} classes, wanted at least 1")
    shape = Shape(spec.name, spec.width, spec.input)
    spec = replace(spec, name=shape.name, width=shape.width)
    prefix, _, member = spec.name.partition(":")
    with torch.device("meta"):
        made = _COLLECTIONS[prefix].make(member, spec.width) if member else _FAMILIES[spec.name](spec.width)
        return Classifier(spec, *made)
