"""The attacks by name: one decorated factory a file of `poisonsets/attacks/`, or an entry point of another package."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from poisonsets.interface import Attack, Traits
from poisonsets.manifests.plugins import clash

Factory = Callable[..., Attack]


@dataclass(frozen=True)
class Entry:
    """A registered attack.

    Attributes:
        name: full name; `aliases` are the papers' abbreviations.
        version: raised whenever equal settings give other poisons.
        traits: what it declares about itself.
        source: the paper.
        factory: keyword-only settings in, the attack out.
    """

    name: str
    aliases: tuple[str, ...]
    version: int
    traits: Traits
    source: str
    factory: Factory

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (self.factory.__doc__ or "").strip().splitlines()[0]

    def defaults(self) -> dict[str, Any]:
        """Every setting with its default value."""
        return {name: p.default for name, p in inspect.signature(self.factory).parameters.items()}


_entries: dict[str, Entry] = {}


def registered() -> dict[str, Entry]:
    """The attacks whose modules have been loaded, by full name."""
    return dict(_entries)


def attack(
    name: str, *, version: int, traits: Traits, source: str, aliases: tuple[str, ...] = ()
) -> Callable[[Factory], Factory]:
    """Register a factory as an attack. Its keyword-only arguments with defaults are the attack's settings.

    Raises:
        UsageError: another attack has one of these names already, in any case.
    """

    def register(factory: Factory) -> Factory:
        wanted = {spelling.lower() for spelling in (name, *aliases)}
        for other in _entries.values():
            taken = wanted & {spelling.lower() for spelling in (other.name, *other.aliases)}
            if taken and other.factory is not factory:
                one, two = f"{name} of {factory.__module__}", f"{other.name} of {other.factory.__module__}"
                raise clash("attacks", min(taken), one, two)
        _entries[name] = Entry(name, aliases, version, traits, source, factory)
        return factory

    return register
