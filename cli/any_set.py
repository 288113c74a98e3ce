"""Foreign sets in the place of our own: what `verify` and `score` do with a path that has no manifest."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from poisonsets.cli import output
from poisonsets.door.bases import named_base


@contextmanager
def native(path: Path, base: str | None, *, quiet: bool = False) -> Iterator[Path]:
    """The folder of a poison set of ours: the path itself, or a temporary import of a known foreign format.

    Notes on stderr say which format was found and what was assumed.

    Args:
        path, base: as the user named them.
        quiet: no notes.

    Raises:
        UsageError: a foreign set without a base, or with an open unit.
        DamagedError, ViolationError: a trial of it cannot be imported.
    """
    if (path / "manifest.json").exists():  # the usual case costs nothing
        yield path
        return
    from poisonsets.manifests.interop.importing.open_any import open_any

    with open_any(path, None if base is None else partial(named_base, base)) as found:
        for note in found.notes:
            output.note(note, quiet=quiet)
        yield found.path
