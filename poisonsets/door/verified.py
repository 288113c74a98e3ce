"""A set that verified, with its base: what victims may be trained on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poisonsets.door.bases import finder
from poisonsets.door.verify import folder_of, native
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, ViolationError
from poisonsets.manifests.sets import reader
from poisonsets.manifests.verification.verify import verify


@contextmanager
def verified(given: str | Path | reader.PoisonSet, base: str | None) -> Iterator[tuple[reader.PoisonSet, Base]]:
    """The set, opened again from disk once it verified, and its base.

    Raises:
        DamagedError, ViolationError: it does not verify.
        MissingError, UsageError: as `verify`.
    """
    folder, find = folder_of(given), finder(base)
    with native(folder, base) as ours:
        report = verify(ours, find)
        if not report.clean:
            kind = DamagedError if report.worst == DamagedError.exit_code else ViolationError
            first = report.findings[0]
            raise kind(f"{folder} does not verify ({first.place}: {first.message})", first.remedy)
        opened = reader.open_set(ours)
        if opened.manifest.content_digest != report.content_digest:
            raise DamagedError(f"{folder} has changed since it was verified", "Repeat it when nothing writes there")
        yield opened, find(opened.manifest.base)
