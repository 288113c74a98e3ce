"""poisonsets: craft, verify and score data-poisoning sets for image classifiers.

    import poisonsets as ps

    made = ps.craft("bullseye-polytope", base="digits", trials=range(2), out="made")
    assert ps.verify(made)
    print(ps.score(made))

Importing this package loads nothing heavy: each verb is loaded when it is first used (docs/python.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poisonsets.door.compare import compare
    from poisonsets.door.craft import craft
    from poisonsets.door.evaluate import evaluate
    from poisonsets.door.list_attacks import list_attacks
    from poisonsets.door.load_network import load_network
    from poisonsets.door.open_base import open_base
    from poisonsets.door.open_set import open_set
    from poisonsets.door.score import score
    from poisonsets.door.verify import verify

__version__ = "0.1.0"
__all__ = ["compare", "craft", "evaluate", "list_attacks", "load_network", "open_base", "open_set", "score", "verify"]


def __getattr__(name: str) -> Any:
    """Load a verb, each of a file of its name in `door`, when it is first used."""
    if name in __all__:
        from importlib import import_module

        verb = getattr(import_module(f"{__name__}.door.{name}"), name)
        globals()[name] = verb
        return verb
    raise AttributeError(f"module {__name__} has no attribute {name}")


def __dir__() -> list[str]:
    """What a notebook completes."""
    return sorted({*globals(), *__all__})
