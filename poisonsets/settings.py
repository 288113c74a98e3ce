"""Settings of an attack: parsed from text, checked against the factory's types, and recorded as decimal strings."""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.spelling import nearest

if TYPE_CHECKING:
    from poisonsets.manifests.records.origin import Setting

NUMBERS = {int: r"-?[0-9]{1,18}", float: r"-?[0-9]{1,18}(\.[0-9]{1,18})?(e[+-]?[0-9]{1,3})?|nan|-?inf"}


@dataclass(frozen=True)
class Range:
    """The values a numeric setting may take, written into its annotation: `steps: Annotated[int, Range(1, 10_000)]`.

    Attributes:
        least, most: both allowed.
    """

    least: float
    most: float


def parse_settings(owner: str, factory: Callable[..., object], given: Mapping[str, str]) -> dict[str, Any]:
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


def record_settings(settings: Mapping[str, Any]) -> dict[str, Setting]:
    """Settings as a manifest records them: floats become decimal strings."""
    return {key: decimal(value) if isinstance(value, float) else value for key, value in settings.items()}


def spell_setting(value: Setting) -> str:
    """A recorded value as one types it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


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
