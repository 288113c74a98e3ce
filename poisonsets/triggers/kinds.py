"""The kinds of triggers: one decorated factory per file of this folder, found by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.plugins import clash, load_plugins
from poisonsets.manifests.spelling import unknown
from poisonsets.settings import parse_settings

GROUP = "poisonsets.triggers"
ResolvedTrigger: TypeAlias = tuple[Trigger, Mapping[str, Any]]
"""A trigger ready to stamp, and the options whose values it resolved."""
Resolver: TypeAlias = Callable[[Base, int], ResolvedTrigger]
"""Base and seed to a trigger for the base's images."""
Factory: TypeAlias = Callable[..., Resolver]


@dataclass(frozen=True)
class TriggerKind:
    """A registered kind.

    Attributes:
        name: as typed after `--trigger`.
        factory: takes keyword-only options and returns the resolver.
    """

    name: str
    factory: Factory

    @property
    def title(self) -> str:
        """Its name in errors."""
        return f"trigger {self.name}"

    def options(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Every option with its given or default value. Raises as `parse_settings`."""
        return parse_settings(self.title, self.factory, given)

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().splitlines()[0]


_kinds: dict[str, TriggerKind] = {}


def kind(name: str) -> Callable[[Factory], Factory]:
    """Register a factory as a kind of trigger. Its keyword-only arguments with defaults are the kind's options.

    Raises UsageError if another kind has this name.
    """

    def register(factory: Factory) -> Factory:
        other = _kinds.setdefault(name, TriggerKind(name, factory)).factory
        if other is not factory:
            raise clash("triggers", name, factory.__module__, other.__module__)
        return factory

    return register


@cache
def kinds() -> dict[str, TriggerKind]:
    """All kinds by name, in alphabetical order. Raises as `load_plugins`."""
    load_plugins("poisonsets.triggers", group=GROUP)
    return dict(sorted(_kinds.items()))


def find(name: str) -> TriggerKind:
    """The kind of that name. Raises UsageError, with the nearest name, if there is none."""
    if name not in kinds():
        raise unknown("trigger", name, kinds())
    return kinds()[name]
