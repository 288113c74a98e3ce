"""One door for whatever judges poison sets: ours pass through, foreign ones are imported for as long as needed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError, ViolationError
from poisonsets.manifests.interop.formats import sniff_format
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.import_set import Imported, import_set
from poisonsets.manifests.sets.writer import MANIFEST

PUBLISHED_CLAIMS: Final = Claims()


@dataclass(frozen=True)
class NativeSet:
    """A poison set of ours.

    Attributes:
        path: its folder; of a foreign set a temporary one.
        notes: for people, where it was imported: what was found, what was assumed, what is odd.
    """

    path: Path
    notes: tuple[str, ...] = ()


@contextmanager
def open_any(
    path: Path, find_base: Callable[[], Base] | None, claims: Claims = PUBLISHED_CLAIMS
) -> Iterator[NativeSet]:
    """A path as a poison set of ours.

    A folder with a manifest, and whatever is of no format that is known by its looks, is left as it is, for the reader
    to open or refuse.

    Args:
        path: what the user named.
        find_base: gives the base that the user named; None where none was.
        claims: what the user says of a foreign set; else the claims of the published benchmark.

    Raises:
        UsageError: a foreign set without a base, or with an open unit.
        DamagedError, ViolationError: a trial of a foreign set cannot be imported.
    """
    found = None if (path / MANIFEST).exists() or not path.exists() else sniff_format(path)
    if found is None:
        yield NativeSet(path)
        return
    if find_base is None:
        raise UsageError(f"{path}: a set of the format {found.name}, which names no base", "Give --base")
    with tempfile.TemporaryDirectory(prefix="poisonsets-") as scratch:
        output = Path(scratch) / "set"
        base = find_base()
        try:
            done = import_set(output, found, path, base, claims, name="imported")
        except UsageError as error:
            raise UsageError(error.message, _remedy(found.name, error.remedy)) from error
        _refuse_bad(done, path)
        assumed = f"assumed: {claims.line()} (`import` takes other claims)"
        assumed = f"{path}: a set of the format {found.name}, imported for this; {assumed}"
        yield NativeSet(output, (assumed, *(line for one in done.by_code for line in one.lines())))


def _remedy(name: str, remedy: str) -> str:
    """What helps here where `import` names its options, which whoever judges a set does not have."""
    if "--" not in remedy:
        return remedy
    return f"`poisonsets import {name}` takes --unit, --setup and --target; verify what it writes"


def _refuse_bad(done: Imported, path: Path) -> None:
    if not done.kept_out:
        return
    first, more = done.findings[0], len(done.kept_out) - 1
    error = DamagedError if done.worst == DamagedError.exit_code else ViolationError
    raise error(
        f"{path}: a set of the format {done.format}, of which {len(done.kept_out)} trials cannot be imported: "
        f"{first.code} {first.place}: {first.message}{f', and {more} more' if more else ''}",
        f"`poisonsets import {done.format}` lists all, takes --setup and --target, and with --skip-bad leaves them out",
    )
