"""Every network family is one file of this folder; `build` makes any of them from its name and a generator.

A family registers a function from the width multiplier to (`Body`, number of features). Weights are drawn
from the generator that is passed in; torch's global random state is never used.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import torch
from torch import nn

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.suggest import unknown
from poisonsets.victims.decimals import network_width
from poisonsets.victims.networks.classifier import Body, Classifier, NetworkSpec, channel_values

__all__ = ["Body", "Classifier", "NetworkSpec", "build", "names", "register", "skeleton"]

Family: TypeAlias = Callable[[str], tuple[Body, int]]
_FAMILIES: dict[str, Family] = {}


def register(name: str) -> Callable[[Family], Family]:
    """Put a family member under its name; used as a decorator in the family's file."""

    def put(family: Family) -> Family:
        _FAMILIES[name] = family
        return family

    return put


@cache
def _discover() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def names() -> tuple[str, ...]:
    """The names `build` knows, sorted."""
    _discover()
    return tuple(sorted(_FAMILIES))


def build(
    name: str,
    classes: int,
    width: str,
    mean: tuple[str, str, str],
    std: tuple[str, str, str],
    *,
    generator: torch.Generator | None = None,
) -> Classifier:
    """A network on the CPU with PyTorch's default initialisation, in training mode.

    Args:
        name: one of `names()`.
        classes: outputs of the head, at least 1.
        width: channel multiplier as a decimal string, above 0 and at most 16.
        mean, std: normalisation as decimal strings.
        generator: a CPU generator for the weights; without one they are those of a generator seeded with 0.

    Raises:
        UsageError: an unknown name, a width out of range, no class.
    """
    network = skeleton(NetworkSpec(name, classes, width, mean, std))
    network.to_empty(device="cpu")
    _initialise(network, generator or torch.Generator().manual_seed(0))
    network.mean.copy_(channel_values(mean))
    network.std.copy_(channel_values(std))
    return network


def skeleton(spec: NetworkSpec) -> Classifier:
    """The network without memory for its tensors (device `meta`): names, shapes and dtypes only.

    Raises:
        UsageError: as `build`.
    """
    if spec.name not in names():
        raise unknown("network", spec.name, names())
    if spec.classes < 1:
        raise UsageError(f"a network with {spec.classes} classes, wanted at least 1")
    width = network_width(spec.width)
    with torch.device("meta"):
        body, feature_width = _FAMILIES[spec.name](width)
        return Classifier(NetworkSpec(spec.name, spec.classes, width, spec.mean, spec.std), body, feature_width)


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    """PyTorch's defaults (`reset_parameters` of each layer), which take no generator of their own."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Kaiming-uniform with a = sqrt(5) is U(+-1/sqrt(fan_in)), the bound of the bias too.
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
