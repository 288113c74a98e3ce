"""The kinds of triggers: one decorated factory a file of this folder, found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.plugins import clash, load_plugins
from poisonsets.manifests.spelling import unknown
from poisonsets.settings import parse_settings

ResolvedTrigger: TypeAlias = tuple[Trigger, Mapping[str, Any]]
"""A trigger ready to be stamped, and the options that came to other values than were given."""
Resolver: TypeAlias = Callable[[Base, int], ResolvedTrigger]
"""Base and seed to a trigger for the base's images."""
Factory: TypeAlias = Callable[..., Resolver]


@dataclass(frozen=True)
class TriggerKind:
    """A registered kind.

    Attributes:
        name: as typed after `--trigger`.
        factory: keyword-only options in, the resolver out.
    """

    name: str
    factory: Factory

    @property
    def title(self) -> str:
        """How errors call it."""
        return f"trigger {self.name}"

    def options(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Every option with its value: as given, or the default.

        Raises:
            UsageError: as `parse_settings`.
        """
        return parse_settings(self.title, self.factory, given)

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().splitlines()[0]


_kinds: dict[str, TriggerKind] = {}


def kind(name: str) -> Callable[[Factory], Factory]:
    """Register a factory as a kind of trigger. Its keyword-only arguments with defaults are the kind's options.

    Raises:
        UsageError: another kind has this name already.
    """

    def register(factory: Factory) -> Factory:
        other = _kinds.setdefault(name, TriggerKind(name, factory)).factory
        if other is not factory:
            raise clash("triggers", name, factory.__module__, other.__module__)
        return factory

    return register


@cache
def kinds() -> dict[str, TriggerKind]:
    """All kinds by name, in alphabetical order.

    Raises:
        MissingError, UsageError: as `load_plugins`.
    """
    load_plugins("poisonsets.triggers", group="poisonsets.triggers")
    return dict(sorted(_kinds.items()))


def find(name: str) -> TriggerKind:
    """The kind of that name.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    known = kinds()
    if name in known:
        return known[name]
    raise unknown("trigger", name, known)
