"""The checks: one decorated function each, registered under its code, yielding findings; one file per family."""

from poisonsets.manifests.plugins import Origin, load_plugins, offered, package_of
from poisonsets.manifests.verification.check_registry import modules

GROUP = "poisonsets.checks"

load_plugins(__name__)


def take_plugins() -> list[Origin]:
    """Add the checks of other packages, entry points `poisonsets.checks` to modules that register some.

    They run in every verification of this process from now on. Raises and warns as `load_plugins`.
    """
    offered(GROUP)
    named = [(code, package_of(module, GROUP)) for code, module in modules().items() if module != __name__]
    return [Origin("check", code, *package) for code, package in named if package is not None]
