"""An attack's settings: parsed from text, checked against the factory's types, recorded with decimal strings."""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.spelling import nearest

if TYPE_CHECKING:
    from poisonsets.manifests.records.origin import Setting

NUMBERS = {int: r"-?[0-9]{1,18}", float: r"-?[0-9]{1,18}(\.[0-9]{1,18})?(e[+-]?[0-9]{1,3})?|nan|-?inf"}


@dataclass(frozen=True)
class Range:
    """The inclusive range of a numeric setting, part of its annotation: `steps: Annotated[int, Range(1, 10_000)]`."""

    least: float
    most: float


# Settings of several attacks; a meaning they all share is given here, not in their docstrings.
PUBLISHED_BATCH = 512
Steps: TypeAlias = Annotated[int, Range(1, 100_000)]
LearningRate: TypeAlias = Annotated[float, Range(1e-9, 1e3)]
StepSize: TypeAlias = Annotated[float, Range(1e-9, 1e3)]
Batch: TypeAlias = Annotated[
    int, Range(1, 100_000), "poisons matched together, in slot order; larger sets take several batches; published 512"
]
Restarts: TypeAlias = Annotated[
    int, Range(1, 100), "random starts, of which the lowest objective wins; 1 with `adam` starts at the bases"
]
Choice: TypeAlias = Annotated[
    Literal["evaluated", "published"],
    "how the best restart is chosen: by its loss over four fixed views, or by its last step's loss, as published",
]
Augment: TypeAlias = Annotated[bool, "whether each step shifts and mirrors every poison at random, as in Witches' Brew"]
Dropout: TypeAlias = Annotated[
    float,
    Range(0, 0.9),
    "share of each block's output values dropped while crafting; the authors' networks use 0.2 to 0.3",
]
FeatureOptimiser: TypeAlias = Annotated[
    Literal["adam", "signed-adam"],
    "`adam` as published; `signed-adam` with a decaying step size and a random start, as in Witches' Brew",
]


def parse_settings(owner: str, factory: Callable[..., object], given: Mapping[str, str]) -> dict[str, Any]:
    """Every keyword-only setting of a factory: its default, or the given text parsed by the argument's type.

    Raises UsageError, which names the `owner`, for an unknown setting or a value outside its type or range.
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
        settings[key] = _parse(owner, key, text, hints[key])
    return settings


def record_settings(settings: Mapping[str, Any]) -> dict[str, Setting]:
    """Settings as a manifest records them, floats as decimal strings."""
    return {key: decimal(value) if isinstance(value, float) else value for key, value in settings.items()}


def spell_setting(value: Setting) -> str:
    """A recorded value as a user types it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def meanings(factory: Callable[..., object]) -> dict[str, str]:
    """What each setting means: its entry under `Args:` in the docstring, or the words in its type.

    Raises UsageError where the docstring describes a setting twice or in another order than the signature.
    """
    doc = inspect.getdoc(factory) or ""
    entries = re.findall(r"^    (\w+): ((?:.+\n?)(?: {8}.+\n?)*)", doc.partition("\nArgs:\n")[2], re.MULTILINE)
    found = {name: " ".join(text.split()) for name, text in entries}
    if list(found) != [name for name in inspect.signature(factory).parameters if name in found]:
        raise UsageError(f"the docstring describes {', '.join(found)}", "Describe settings alone, in their order")
    for name, hint in typing.get_type_hints(factory, include_extras=True).items():
        for note in typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ():
            if isinstance(note, str):
                if name in found:
                    raise UsageError(f"{name} is described twice", "Leave it out of the docstring or out of its type")
                found[name] = note
    return found


def decimal(value: float) -> str:
    """The shortest decimal string that reads back as this finite float."""
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _parse(attack_name: str, key: str, text: str, wanted: Any) -> Any:
    where = f"{attack_name}: {key}={text}"
    notes: list[object] = []
    if typing.get_origin(wanted) is Annotated:
        wanted, *notes = typing.get_args(wanted)
    if typing.get_origin(wanted) is Literal:
        choices = typing.get_args(wanted)
        if text not in choices:
            raise UsageError(f"{where}: not one of {', '.join(choices)}")
        return text
    if wanted is bool:
        if text not in ("true", "false"):
            raise UsageError(f"{where}: not true or false")
        return text == "true"
    # int() and float() alone accept spaces, underscores and digits of other scripts.
    if wanted is not str and not re.fullmatch(NUMBERS[wanted], text):
        raise UsageError(f"{where}: not {'a whole number' if wanted is int else 'a number'}")
    value = wanted(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where}: not a finite number")
    for bounds in notes:
        if isinstance(bounds, Range) and not bounds.least <= value <= bounds.most:
            raise UsageError(f"{where}: outside {bounds.least:g} to {bounds.most:g}")
    return value
