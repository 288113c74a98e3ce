"""The attacks by name: one decorated factory a file of `poisonsets/attacks/`, or an entry point of another package."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from poisonsets.interface import Attack, Range, Traits
from poisonsets.manifests.errors import MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.model import Setting
from poisonsets.manifests.suggest import nearest

NUMBERS = {int: r"-?[0-9]{1,18}", float: r"-?[0-9]{1,18}(\.[0-9]{1,18})?(e[+-]?[0-9]{1,3})?|nan|-?inf"}
ENTRY_POINTS = "poisonsets.attacks"
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
                raise UsageError(
                    f"two attacks are called {min(taken)}: {name} of {factory.__module__} and "
                    f"{other.name} of {other.factory.__module__}",
                    "Rename one, or uninstall the package it comes with",
                )
        _entries[name] = Entry(name, aliases, version, traits, source, factory)
        return factory

    return register


@cache
def attacks() -> dict[str, Entry]:
    """All attacks by full name, in alphabetical order.

    Raises:
        MissingError: an attack's file, or an attack of another package, cannot be loaded.
    """
    package = importlib.import_module("poisonsets.attacks")
    for module in pkgutil.iter_modules(package.__path__):
        label = f"the attack file poisonsets/attacks/{module.name}.py"
        _load(label, partial(importlib.import_module, f"{package.__name__}.{module.name}"), "Correct or remove it")
    for point in entry_points(group=ENTRY_POINTS):
        label = f"the attack {point.name} ({point.value}) of another package"
        _load(label, point.load, "Repair or uninstall that package")
    return dict(sorted(_entries.items()))


def _load(label: str, load: Callable[[], object], remedy: str) -> None:
    """Import an attack, whose author we cannot know to have been careful."""
    try:
        load()
    except PoisonsetsError:
        raise
    except Exception as error:
        raise MissingError(f"{label} cannot be loaded: {type(error).__name__}: {error}", remedy) from error


def find(name: str) -> Entry:
    """The attack of that name or alias, in any case.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    known: dict[str, Entry] = {}
    for entry in attacks().values():
        known.update({spelling.lower(): entry for spelling in (entry.name, *entry.aliases)})
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    hint = f"Did you mean {known[near].name}?" if near else "`poisonsets list attacks` shows them"
    raise UsageError(f"unknown attack {name!r}", hint)


def settings_of(entry: Entry, given: Mapping[str, str]) -> dict[str, Any]:
    """Every setting of an attack, the given ones parsed by the type of the factory's argument.

    Raises:
        UsageError: an unknown setting, or a value that is not of its type.
    """
    return parsed_settings(entry.name, entry.factory, given)


def parsed_settings(owner: str, factory: Callable[..., object], given: Mapping[str, str]) -> dict[str, Any]:
    """Every keyword setting of a factory with its value, the given ones parsed by the type of the argument.

    Args:
        owner: whose settings they are, for the errors.
        factory: its keyword-only arguments with defaults are the settings.
        given: settings as typed.

    Raises:
        UsageError: an unknown setting, or a value that is not of its type.
    """
    hints = typing.get_type_hints(factory, include_extras=True)
    settings = {
        name: p.default for name, p in inspect.signature(factory).parameters.items() if p.kind is p.KEYWORD_ONLY
    }
    for key, text in given.items():
        if key not in settings:
            near = nearest(key, settings)
            hint = f"Did you mean {near}?" if near else f"It has: {', '.join(settings) or 'none'}"
            raise UsageError(f"{owner} has no setting {key!r}", hint)
        settings[key] = _parsed(owner, key, text, hints[key])
    return settings


def recorded(settings: Mapping[str, Any]) -> dict[str, Setting]:
    """Settings as a manifest records them: floats become decimal strings."""
    return {key: decimal(value) if isinstance(value, float) else value for key, value in settings.items()}


def decimal(value: float) -> str:
    """A finite float as the shortest decimal string that reads back to it."""
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _parsed(attack_name: str, key: str, text: str, wanted: Any) -> Any:
    where = f"{attack_name}: {key}={text}"
    bounds = None
    if typing.get_origin(wanted) is Annotated:
        wanted, bounds = typing.get_args(wanted)
    if typing.get_origin(wanted) is Literal:
        choices = typing.get_args(wanted)
        if text not in choices:
            raise UsageError(f"{where}: not one of {', '.join(choices)}")
        return text
    if wanted is bool:
        if text not in ("true", "false"):
            raise UsageError(f"{where}: not true or false")
        return text == "true"
    # int() and float() alone would take spaces, underscores and digits of other scripts.
    if wanted is not str and not re.fullmatch(NUMBERS[wanted], text):
        raise UsageError(f"{where}: not {'a whole number' if wanted is int else 'a number'}")
    value = wanted(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: not a finite number")
    if isinstance(bounds, Range) and not bounds.least <= value <= bounds.most:
        raise UsageError(f"{where}: outside {bounds.least:g} to {bounds.most:g}")
    return value
