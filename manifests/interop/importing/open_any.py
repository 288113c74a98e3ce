"""Open any poison set to judge it: ours as it is, a foreign one through a temporary import."""

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
from poisonsets.manifests.interop.importing.import_set import ImportResult, import_set
from poisonsets.manifests.sets.writer import MANIFEST
from poisonsets.manifests.spelling import command

PUBLISHED_CLAIMS: Final = Claims()


@dataclass(frozen=True)
class NativeSet:
    """The folder of a poison set of ours, and notes on its import if it is a temporary copy of a foreign one."""

    path: Path
    notes: tuple[str, ...] = ()


@contextmanager
def open_any(
    path: Path, find_base: Callable[[], Base] | None, claims: Claims = PUBLISHED_CLAIMS
) -> Iterator[NativeSet]:
    """A path as a poison set of ours.

    A folder with a manifest, or a path of no known format, passes through for the reader to open or refuse.
    `find_base` gives the base that the user named, if any.

    Raises:
        UsageError: a foreign set has no base, or an ambiguous unit.
        DamagedError, ViolationError: a trial of a foreign set cannot be imported.
    """
    found = None if (path / MANIFEST).exists() or not path.exists() else sniff_format(path)
    if found is None:
        yield NativeSet(path)
        return
    if find_base is None:
        raise UsageError(f"{path}: a set of the format {found.name}, which names no base", "Give --base")
    with tempfile.TemporaryDirectory(prefix="poisonsets-") as scratch:
        output, base = Path(scratch) / "set", find_base()
        importing = command("import", found.name, path, "--base", base.name, "-o", "imported")
        try:
            done = import_set(output, found, path, base, claims, name="imported")
        except UsageError as error:
            remedy = error.remedy
            if "--" in remedy:  # an option of `import`, which verify and score do not have
                remedy = f"{importing} takes --unit, --setup and --target; verify what it writes"
            raise UsageError(error.message, remedy) from error
        _refuse_bad(done, path, importing)
        assumed = f"assumed: {claims.line()} ({importing} takes other claims)"
        assumed = f"{path}: a set of the format {found.name}, imported for this; {assumed}"
        yield NativeSet(output, (assumed, *(line for one in done.by_code for line in one.lines())))


def _refuse_bad(done: ImportResult, path: Path, importing: str) -> None:
    if not done.kept_out:
        return
    first, more = done.findings[0], len(done.kept_out) - 1
    error = DamagedError if done.worst == DamagedError.exit_code else ViolationError
    raise error(
        f"{path}: a set of the format {done.format}, of which {len(done.kept_out)} trials cannot be imported: "
        f"{first.code} {first.place}: {first.message}{f', and {more} more' if more else ''}",
        f"{importing} lists all, takes --setup and --target, and with --skip-bad leaves them out",
    )
