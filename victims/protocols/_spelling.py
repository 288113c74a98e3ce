"""How a protocol's id writes its settings: one spelling a value."""

from collections.abc import Callable
from typing import Any, Final

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.spelling import unknown
from poisonsets.victims.networks import shape
from poisonsets.victims.networks.shape import parse_input


def shown(value: object) -> str:
    """A setting as an id writes it: `true`, `20+30`, `none` for an empty tuple."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "+".join(str(item) for item in value) or "none"
    return str(value)


def read(key: str, text: str) -> Any:
    """The value that `shown` wrote; `Protocol` checks its range.

    Raises:
        UsageError: no setting has this name, or the text has no meaning for it.
    """
    if key not in KEYS:
        raise unknown("protocol setting", key, KEYS)
    if key == "input":
        return parse_input(text)
    if key == "width":
        return text
    reader, example = SETTINGS[key]
    try:
        return reader(text)
    except (ValueError, KeyError) as error:
        raise UsageError(f"{key}={text[:40]} has no meaning", f"Write for example {key}={example}") from error


def _whole(text: str) -> int:
    # int() alone would take signs, spaces, underscores and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(text)
    return int(text)


def _epochs(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(_whole(part) for part in text.split("+"))


_truth = {"true": True, "false": False}.__getitem__

SETTINGS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "augment": (str, "none"),
    "batch": (_whole, "128"),
    "composition": (str, "in-place"),
    "lr_milestones": (_epochs, "20+30"),
    "epochs": (_whole, "40"),
    "lr_gamma": (str, "0.1"),
    "flip": (_truth, "true"),
    "flip_target": (_truth, "true"),
    "head": (str, "kept"),
    "keep": (str, "0.5"),
    "learning_rate": (str, "0.01"),
    "momentum": (str, "0.9"),
    "nesterov": (_truth, "true"),
    "normalise": (str, "none"),
    "optimiser": (str, "adam"),
    "pad": (_whole, "4"),
    "size": (_whole, "500"),
    "training": (str, "scratch"),
    "weight_decay": (str, "0.0002"),
}

KEYS: Final = tuple(sorted([*SETTINGS, *shape.SETTINGS]))
"""What an id may spell behind its `@`: settings of the protocol, and of its network."""
