"""One way to answer an unknown name: say what was found, and which known name is nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from poisonsets.manifests.errors import UsageError


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a word, in any case; None where none is at all like it."""
    spelled: dict[str, str] = {}
    for name in sorted(known):
        spelled.setdefault(name.lower(), name)
    near = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.5)
    return spelled[near[0]] if near else None


def unknown(what: str, word: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among the known ones; the caller raises it.

    Args:
        what: what the name should name, for instance `protocol`.
        word: the name as given.
        known: every name that would have done.
    """
    choices = sorted(known)
    near = nearest(word, choices)
    remedy = f"Did you mean {near}?" if near else f"Known: {', '.join(choices)}"
    return UsageError(f"no {what} is called {word[:100]!r}", remedy)
