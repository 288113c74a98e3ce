"""Classes as people type them, by number or by name, on an open base."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from poisonsets.manifests import spelling
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base

EVERY = "all"
ADVERSARIAL = "--adversarial-label"


def label(text: str, base: Base, option: str) -> int:
    """The label of a class; a number is a label, whatever classes are called.

    Args:
        text: `3` or `cat`.
        base: says the classes' names.
        option: where it was given, for the error.

    Raises:
        UsageError: the base has no such class.
    """
    if re.fullmatch("[0-9]{1,9}", text):
        if int(text) < len(base.classes):
            return int(text)
        raise UsageError(f"{option} {text}: {base.name} has classes 0-{len(base.classes) - 1}")
    if base.classes.count(text) == 1:
        return base.classes.index(text)
    near = spelling.nearest(text, base.classes)
    hint = f"Did you mean {near}?" if near else f"Give a number, 0-{len(base.classes) - 1}, or a name"
    raise UsageError(f"{option} {spelling.printable(text)[:100]}: {base.name} has no class of this name", hint)


def labels(text: str, base: Base, option: str) -> tuple[int, ...]:
    """The labels of several classes, ascending, each once: `0-4`, `cat,dog`, `3,dog`.

    Raises:
        UsageError: as `label`, or a range runs backwards.
    """
    found: set[int] = set()
    for word in text.split(","):
        known = spelling.parse_numbers(word, option) if re.fullmatch("[0-9]+-[0-9]+", word) else [word]
        found |= {label(str(one), base, option) for one in known}
    return tuple(sorted(found))


def pair(given: tuple[str, str], base: Base) -> tuple[int, int]:
    """The labels of `--class-pair`: the adversarial class, the targets'."""
    adversarial, target = (label(one, base, "--class-pair") for one in given)
    return adversarial, target


def source_labels(text: str | None, base: Base) -> tuple[int, ...] | None:
    """Those of `--source-classes`, of which `all` are the victims'; None where it was left out."""
    if text is None:
        return None
    return base.victim_classes if text == EVERY else labels(text, base, "--source-classes")
