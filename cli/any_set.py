"""Foreign sets in the place of our own: what `verify` and `score` do with a path that has no manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poisonsets.cli import options, output


@contextmanager
def native(
    path: Path,
    base: str | None,
    *,
    holdout: str | None = None,
    split_seed: int = 0,
    resize: int | None = None,
    quiet: bool = False,
) -> Iterator[Path]:
    """The folder of a poison set of ours: the path itself, or a temporary import of a known foreign format.

    Notes on stderr say which format was found and what was assumed.

    Args:
        path, base, holdout, split_seed, resize: as the user named them.
        quiet: no notes.

    Raises:
        UsageError: a foreign set without a base, or with an open unit.
        DamagedError, ViolationError: a trial of it cannot be imported.
    """
    if (path / "manifest.json").exists():  # the usual case costs nothing
        yield path
        return
    from poisonsets.manifests.bases.cache import open_base
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.interop.importing.open_any import opened

    def find() -> Base:
        cache = options.cache_folder()
        return open_base(base or "", cache=cache, holdout=holdout, split_seed=split_seed, resize=resize)

    with opened(path, None if base is None else find) as found:
        for note in found.notes:
            output.note(note, quiet=quiet)
        yield found.path
