"""A results folder: one canonical JSON file a job, so that scoring can stop, resume and be shared out.

    RESULTS/settings.json         what every row was made with: set, base, protocols, extractors, device
    RESULTS/checkpoints/          whole networks in training, while there are jobs to be done
    RESULTS/rows/JOB.json         one row and its checksum; JOB is the sha256 of what the job is
    RESULTS/trajectories/JOB.safetensors   where asked for: how the job's victims came to it; stored before the row is
    RESULTS/victims/JOB-poisoned.safetensors, JOB-control.safetensors   where asked for: these victims, stored before it

Trials and victim seeds are not settings: a later call may add some.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.records.fields import first_fault
from poisonsets.victims.results.job import JobRecord
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.trajectory import TrajectoryRecord, read_trajectory
from poisonsets.victims.results.victim_file import Role, VictimRecord, read_victim

SETTINGS: Final = "settings.json"
CHECKPOINTS: Final = "checkpoints"
FILE_BYTES: Final = 16 << 20
_REMEDY: Final = "Remove the file and score again with --resume"


@dataclass(frozen=True)
class ResultsFolder:
    """An open results folder, made by `open_results`."""

    path: Path

    def row(self, job: str, **expected: object) -> Row | None:
        """The row of a job, None where it has none yet.

        Args:
            job: its key.
            expected: fields beside the job's identity that follow from the job.

        Raises:
            DamagedError: the file is not a row, was changed since it was written, or is the row of another job.
        """
        path = self.path / "rows" / f"{job}.json"
        if not (path.exists() or path.is_symlink()):
            return None
        row = read_row(path)
        _refuse_different(path, row, expected)
        return row

    def write(self, row: Row) -> None:
        """Store a row under its job; MissingError where the folder cannot be written."""
        path = self.path / "rows" / f"{row.job}.json"
        store.write_file(path, canonical_json.checksummed(row.model_dump(mode="json")))

    def has_trajectory(self, wanted: TrajectoryRecord) -> bool:
        """Whether this trajectory of a job is there, and whole.

        Raises:
            DamagedError: as `read_trajectory`, or it is of another job.
        """
        path = trajectory_path(self.path, wanted.job)
        return _holds(path, lambda: read_trajectory(path).record, wanted)

    def has_victim(self, wanted: VictimRecord) -> bool:
        """Whether this victim of a job is there, and whole.

        Raises:
            DamagedError: as `read_victim`, or it is another victim.
        """
        path = victim_path(self.path, wanted.job, wanted.role)
        return _holds(path, lambda: read_victim(path).record, wanted)


def victim_path(results: Path, job: str, role: Role) -> Path:
    """Where a results folder keeps a victim of the job with this key."""
    return results / "victims" / f"{job}-{role}.safetensors"


def trajectory_path(results: Path, job: str) -> Path:
    """Where a results folder keeps the trajectory of the job with this key."""
    return results / "trajectories" / f"{job}.safetensors"


@contextmanager
def open_results(path: Path, settings: dict[str, Any], *, resume: bool) -> Iterator[ResultsFolder]:
    """Make a results folder, or resume one made by the same settings; it is locked within the block.

    Args:
        path: the folder; made where it does not exist.
        settings: a JSON document of what all rows have in common.
        resume: keep the rows that are there.

    Raises:
        MissingError: as `refuse_used`, it was made by other settings, or another process is writing there.
        DamagedError: its settings cannot be read.
    """
    refuse_used(path, resume=resume)
    store.make_folder(path)
    with store.locked(path):
        # Again: another process may have come between.
        refuse_used(path, resume=resume)
        if known := (path / SETTINGS).exists():
            _refuse_others(path, settings)
        for kind in ("json", "safetensors"):
            store.sweep(path, f"*.{kind}.*")
        if not known:
            store.write_file(path / SETTINGS, canonical_json.dumps(settings))
        yield ResultsFolder(path)


def refuse_used(path: Path, *, resume: bool) -> None:
    """Refuse a folder that rows cannot go to; nothing is written.

    Settings left half-written by a killed start are no obstacle.

    Args:
        path: the folder, there or not.
        resume: whether it may hold results.

    Raises:
        MissingError: it holds something and `resume` is off, or it is no folder, or no results folder.
    """
    store.refuse_unwritable(path / SETTINGS if path.is_dir() else path)
    with store.refusals(path):
        names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    if names and all(fnmatch.fnmatchcase(name, f"{SETTINGS}.*{store.TEMPORARY}") for name in names):
        return
    if not (names and resume):
        store.refuse_nonempty(path, "Go on with --resume or choose another one")
    elif SETTINGS not in names:
        raise MissingError(f"{path}: no results folder, it has no {SETTINGS}", "Choose another one")


def _refuse_others(path: Path, settings: dict[str, Any]) -> None:
    found = canonical_json.loads(store.read_file(path / SETTINGS, FILE_BYTES), str(path / SETTINGS))
    if not isinstance(found, dict):
        raise DamagedError(f"{path / SETTINGS}: not a JSON object")
    if differing := canonical_json.difference(found, settings):
        raise MissingError(f"{path}: its rows have other settings ({differing})", "Choose another results folder")


def _holds(path: Path, read: Callable[[], JobRecord], wanted: JobRecord) -> bool:
    """Whether a file is there; DamagedError where what is read from it is of another job."""
    if not (path.exists() or path.is_symlink()):
        return False
    _refuse_different(path, read(), dict(wanted))
    return True


def _refuse_different(path: Path, record: JobRecord, wanted: Mapping[str, object]) -> None:
    """Refuse a record whose fields are not those of its job."""
    for name, value in wanted.items():
        if (found := getattr(record, name)) != value:
            raise DamagedError(f"{path}: {name} is {str(found)[:80]}, the job has {str(value)[:80]}", _REMEDY)


def read_row(path: Path) -> Row:
    """The row in a file `JOB.json`.

    Raises:
        DamagedError: it is not a row, was changed since it was written, or is named after another job.
    """
    document = canonical_json.loads(store.read_file(path, FILE_BYTES, remedy=_REMEDY), str(path))
    if not isinstance(document, dict) or document.get("checksum") != canonical_json.checksum(document):
        raise DamagedError(f"{path}: its checksum is not that of its contents", _REMEDY)
    del document["checksum"]
    try:
        # From JSON, where a list may be a tuple, though everything else is strict.
        row = Row.model_validate_json(canonical_json.dumps(document))
    except ValidationError as error:
        raise DamagedError(f"{path}: not a result row ({first_fault(error)})", _REMEDY) from error
    if row.job != path.stem:
        raise DamagedError(f"{path}: the row of another job ({row.job[:12]})", _REMEDY)
    return row
