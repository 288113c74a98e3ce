"""Plain Python values as the library takes them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def listed(given: Any) -> list[Any]:
    """One value or several, as a list; a string is one."""
    if isinstance(given, Sequence) and not isinstance(given, str | Path):
        return list(given)
    return [given]


def spelled(value: object) -> str:
    """A setting as it is typed: `True` is `true`, `(1, 2)` is `1,2`."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(spelled, value)) if isinstance(value, list | tuple) else str(value)


def set_name(name: str | None, folder: Path) -> str:
    """A set's name as typed, else the output folder's in the characters of `fields.Name`; empty where none is left."""
    return name or re.sub(r"[^A-Za-z0-9._-]", "-", folder.resolve().name).lstrip("._-")[:200]
