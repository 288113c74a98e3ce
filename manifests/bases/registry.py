"""Every kind of base dataset by name, listed by the files of `kinds/`."""

from collections.abc import Mapping
from functools import cache

from poisonsets.manifests.bases.kind import BaseKind
from poisonsets.manifests.plugins import by_name, load_plugins


@cache
def kinds() -> Mapping[str, BaseKind]:
    """All kinds by name, in alphabetical order. Raises as `load_plugins`."""
    modules = load_plugins("poisonsets.manifests.bases.kinds")
    return by_name("bases", ((kind.name, module, kind) for module in modules for kind in module.KINDS))
