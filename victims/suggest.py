"""One way to refuse an unknown name: say what was found, what is known and which known name is nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from poisonsets.manifests.errors import UsageError


def unknown(kind: str, found: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among the known ones; the caller raises it.

    Args:
        kind: what the name should name, for instance `protocol`.
        found: the name as given.
        known: every name that would have done.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(found, choices, n=1, cutoff=0.5)
    remedy = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(choices)}"
    return UsageError(f"no {kind} is called {found[:100]!r}", remedy)
