"""The one loader of plugins of every kind: the modules of a folder of ours, then those of other packages.

It searches installed packages, never a working folder, and loads a whole folder or group: no name in a set, a row or a
weights file decides what is imported.
"""

import importlib
import pkgutil
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import TypeVar

from poisonsets.manifests.errors import MissingError, PoisonsetsError, UsageError

Plugin = TypeVar("Plugin")


class PluginWarning(UserWarning):
    """A plugin of another package could not be loaded and was skipped."""


@dataclass(frozen=True)
class Origin:
    """A plugin of another package: its kind (`check`, `format`, `base`), its name, and the package with its version."""

    kind: str
    name: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.package} {self.version}"


def load_plugins(package: str, *, group: str | None = None, wanted: str = "") -> list[ModuleType]:
    """The modules of a package of ours in alphabetical order, then those that other packages offer.

    Args:
        package: its dotted name; modules with a leading underscore are no plugins.
        group: the entry-point group `poisonsets.KIND`, whose entries name modules like ours; None loads ours alone.
        wanted: what a module of another package must define, or it is skipped like one that cannot be loaded.

    Raises:
        MissingError: a module of ours cannot be loaded. It is not skipped: without a check, what it refuses would pass.
        UsageError: two plugins have one name.

    Warns:
        PluginWarning: a module of another package cannot be loaded.
    """
    found = []
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.name.startswith("_"):
            continue
        name = f"{package}.{module.name}"
        try:
            found.append(importlib.import_module(name))
        except PoisonsetsError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise MissingError(f"{name} cannot be loaded: {reason}", "Correct or remove its file") from error
    return found if group is None else found + offered(group, wanted)


def by_name(kind: str, plugins: Iterable[tuple[str, ModuleType, Plugin]]) -> Mapping[str, Plugin]:
    """Plugins by name, in alphabetical order.

    Args:
        kind: what they are, in the plural, for the error.
        plugins: of each its name, the module it comes from, and the plugin.

    Raises UsageError where two have one name.
    """
    found: dict[str, tuple[str, Plugin]] = {}
    for name, module, plugin in plugins:
        if name in found:
            raise clash(kind, name, module.__name__, found[name][0])
        found[name] = module.__name__, plugin
    return MappingProxyType({name: found[name][1] for name in sorted(found)})


def clash(kind: str, name: str, one: str, other: str) -> UsageError:
    """The error, for the caller to raise, of two plugins of one name; `kind` is plural, `one` and `other` modules."""
    return UsageError(
        f"two {kind} are called {name}: {one} and {other}", "Rename one, or uninstall the package it comes with"
    )


def package_of(module: str, group: str) -> tuple[str, str] | None:
    """Name and version of the package that offers a plugin's module in an entry-point group; None for our own."""
    from importlib.metadata import entry_points

    top = module.partition(".")[0]
    for point in entry_points(group=group):
        if point.dist is not None and point.module.partition(".")[0] == top:
            return point.dist.name, point.dist.version
    return None


def offered(group: str, wanted: str = "") -> list[ModuleType]:
    """The modules that other packages offer in an entry-point group. `wanted`, errors, warnings as `load_plugins`."""
    from importlib.metadata import entry_points

    found = []
    for point in entry_points(group=group):
        try:
            module = point.load()
            if wanted:
                getattr(module, wanted)
            found.append(module)
        except PoisonsetsError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  whose author we do not know
            reason = f"{type(error).__name__}: {error}. Repair or uninstall that package"
            message = f"{point.name} ({point.value}) of another package cannot be loaded: {reason}"
            warnings.warn(message, PluginWarning, stacklevel=2)
    return found
