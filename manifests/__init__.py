"""The contract: what a poison set is on disk, how to open one, and how to tell whether it is what it claims.

    from poisonsets.manifests import open_set

    for trial in open_set("FOLDER").trials:
        data = trial.training_set(base)

Nothing in this folder imports torch, so a set can be read and verified without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poisonsets.manifests.bases.cache import open_base
    from poisonsets.manifests.sets.reader import open_set

__all__ = ["open_base", "open_set"]

_HOMES = {"open_base": "bases.cache", "open_set": "sets.reader"}


def __getattr__(name: str) -> Any:
    """Load a function when it is first used: `--help` must not wait for numpy and pydantic."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
