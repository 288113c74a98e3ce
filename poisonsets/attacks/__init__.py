"""The attacks: one file each, one registered factory a file. The folder listing is the list of attacks."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import entry_points

from poisonsets.manifests.errors import MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.spelling import nearest
from poisonsets.registry import Entry, registered

ENTRY_POINTS = "poisonsets.attacks"


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
    return dict(sorted(registered().items()))


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
