"""Every kind of base dataset by name, listed by the files of `kinds/`."""

from collections.abc import Mapping
from functools import cache
from types import ModuleType

from poisonsets.manifests.bases.kind import BaseKind
from poisonsets.manifests.plugins import Origin, by_name, load_plugins, offered, package_of

GROUP = "poisonsets.bases"
_others: list[ModuleType] = []


@cache
def kinds() -> Mapping[str, BaseKind]:
    """All kinds by name, in alphabetical order. Raises as `load_plugins`."""
    modules = load_plugins("poisonsets.manifests.bases.kinds") + _others
    return by_name("bases", ((kind.name, module, kind) for module in modules for kind in module.KINDS))


def take_plugins() -> list[Origin]:
    """Add the kinds of other packages, entry points `poisonsets.bases` to modules with `KINDS`, for this process.

    Raises and warns as `load_plugins`.
    """
    _others[:] = offered(GROUP, "KINDS")
    kinds.cache_clear()
    kinds()  # two of one name are refused here
    named = [(kind.name, package_of(module.__name__, GROUP)) for module in _others for kind in module.KINDS]
    return [Origin("base", name, *package) for name, package in named if package is not None]
