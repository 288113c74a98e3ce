"""`poisonsets.verify`: recompute every claim of a poison set that bytes can prove."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from poisonsets.door.bases import finder, named_base
from poisonsets.door.errors import speaks_python
from poisonsets.door.report import VerificationReport
from poisonsets.manifests.sets.reader import PoisonSet
from poisonsets.manifests.verification import verify as verification


@speaks_python
def verify(
    path: str | Path | PoisonSet,
    *,
    base: str | None = None,
    setup: str | None = None,
    sample: str | None = None,
    seed: int = 0,
) -> VerificationReport:
    """Verify a poison set from the bytes on disk; torch is not imported.

    Args:
        path: its folder, or a foreign set of a known format.
        base: the name of its base; None takes the one that the set pins, from the cache. A foreign set needs it.
        setup: compare targets, labels and bases with this published setup, a name or a file.
        sample: read one part of the trials only, `1/10` to `10/10`.
        seed: of the parts of `sample`.

    Returns:
        the report; it is true in a condition where every claim that bytes can prove holds.

    Raises:
        MissingError: there is no such folder or base.
        UsageError: an unknown setup, or a foreign set without a base.
        DamagedError, ViolationError: a trial of a foreign set cannot be imported.
    """
    from poisonsets.manifests.trials.published import open_setup
    from poisonsets.manifests.verification.sample import parse_sample

    part = None if sample is None else parse_sample(sample, seed)
    published = None if setup is None else open_setup(setup)
    folder = folder_of(path)
    with native(folder, base) as ours:
        report = verification.verify(ours, finder(base), setup=published, sample=part)
    return VerificationReport(replace(report, path=str(folder)))


@contextmanager
def native(folder: Path, base: str | None) -> Iterator[Path]:
    """The folder of a set of ours: the path itself, or a temporary import. Raises as `open_any`."""
    from poisonsets.manifests.interop.importing.open_any import open_any

    with open_any(folder, None if base is None else partial(named_base, base)) as found:
        yield found.path


def folder_of(given: str | Path | PoisonSet) -> Path:
    """Where a set lies."""
    return given.path if isinstance(given, PoisonSet) else Path(given)
