"""Lists of whole numbers as people write them: `0-9`, `0-3,7`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from poisonsets.manifests.errors import UsageError


def parsed(text: str, option: str) -> list[int]:
    """The numbers that a spelling stands for, ascending, each once.

    Args:
        text: for instance `0-9`, `3` or `0-4,7`.
        option: where it was given, for the error.

    Raises:
        UsageError: it is spelled otherwise, or a range runs backwards.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        if match is None:
            raise UsageError(f"{option} {text}: not a list of whole numbers", "Write it like 0-9 or 0-3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 100_000:
            raise UsageError(f"{option} {text}: the range {part.strip()} runs backwards or is too long")
        found.extend(range(first, last + 1))
    return sorted(set(found))


def spelled(found: Iterable[int]) -> str:
    """Whole numbers in a few characters, as `parsed` reads them: `0-9`, `0-3,7`."""
    runs: list[list[int]] = []
    for number in sorted(found):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
