"""A results folder: one canonical JSON file a job, so that work can stop, resume and be shared out.

    RESULTS/settings.json         what every row was made with: set, base, protocols, extractors
    RESULTS/rows/JOB.json         one row; JOB is the sha256 of what the job is

Which trials and victim seeds a call asks for is no part of the settings: a later call may add some.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from poisonsets.manifests import canonical, store
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.fields import Decimal, Index, Label, Name, Sha256, Strict, Text
from poisonsets.victims.threat import ThreatLevel

SETTINGS: Final = "settings.json"
FILE_BYTES: Final = 16 << 20


class TargetRow(Strict):
    """What became of one target: labels, and what the two victims call it (no control, no prediction)."""

    label: Label
    adversarial_label: Label
    predicted_poisoned: Label
    predicted_control: Label | None


class Row(Strict):
    """The result of one job.

    Attributes:
        job: `job_key` of the next six.
        success: every target is classified as the adversarial label after training on the poisons.
        control: the same of the clean control; None where there is none.
        training_images: rows of the victim's training set.
        clean_correct, control_correct: test images of the victim's classes given their own label, of
            clean_images.
        seconds: wall time of the job with what it added to the shared feature cache.
        peak_memory_bytes: on a GPU the most allocated during the job, else the most the process ever held.
    """

    job: Sha256
    content_digest: Sha256
    trial: Index
    protocol: Text
    protocol_version: Index
    extractor: Sha256
    victim_seed: Index
    network: Name
    width: Decimal
    targets: tuple[TargetRow, ...]
    success: bool
    control: bool | None
    training_images: Index
    clean_correct: Index
    clean_images: Index
    control_correct: Index | None
    threat_level: ThreatLevel
    seconds: Decimal
    device: Text
    peak_memory_bytes: Index


def job_key(
    *, content_digest: str, trial: int, protocol: str, protocol_version: int, extractor: str, victim_seed: int
) -> str:
    """The sha256 that names a job, and the file its row stands in.

    Args:
        content_digest: of the poison set.
        trial: its number.
        protocol: the protocol's id, with its overrides.
        protocol_version: the protocol's version.
        extractor: digest of the frozen extractor's weights.
        victim_seed: which of several victims.
    """
    job = ["job/1", content_digest, trial, protocol, protocol_version, extractor, victim_seed]
    return hashlib.sha256(canonical.dumps(job)).hexdigest()


@dataclass(frozen=True)
class ResultsFolder:
    """An open results folder; `open_results` makes it."""

    path: Path

    def row(self, job: str) -> Row | None:
        """The row of a job, None where it has none yet.

        Raises:
            DamagedError: the file is not a row, or the row of another job.
        """
        path = self.path / "rows" / f"{job}.json"
        return _read_row(path) if path.exists() or path.is_symlink() else None

    def write(self, row: Row) -> None:
        """Store a row under its job.

        Raises:
            MissingError: the folder cannot be written.
        """
        store.write_file(self.path / "rows" / f"{row.job}.json", canonical.dumps(row.model_dump(mode="json")))


def open_results(path: Path, settings: dict[str, Any], *, resume: bool) -> ResultsFolder:
    """Make a results folder, or go on with one made by the same settings.

    Args:
        path: the folder; made where it does not exist.
        settings: a JSON document of what all rows have in common.
        resume: go on with rows that are there.

    Raises:
        MissingError: the folder holds something and `resume` is off, or it was made by other settings.
        DamagedError: its settings cannot be read.
    """
    if not (path.is_dir() and any(path.iterdir())):
        store.refuse_nonempty(path)
        store.write_file(path / SETTINGS, canonical.dumps(settings))
        return ResultsFolder(path)
    if not resume:
        raise MissingError(f"{path}: the results folder is not empty", "Go on with --resume or choose another one")
    found = _read_settings(path)
    if found != settings:
        key = next(k for k in sorted(found | settings) if found.get(k) != settings.get(k))
        raise MissingError(
            f"{path}: its rows were made by other settings ({key} is {str(found.get(key))[:80]}, "
            f"now {str(settings.get(key))[:80]})",
            "Choose another results folder",
        )
    return ResultsFolder(path)


def read_results(path: Path) -> tuple[dict[str, Any], tuple[Row, ...]]:
    """The settings and all rows of a folder, rows by protocol, extractor, trial and victim seed.

    Raises:
        MissingError: it is no results folder.
        DamagedError: a file in it is damaged; the message names it.
    """
    settings = _read_settings(path)
    rows = [_read_row(file) for file in sorted((path / "rows").glob("*.json"))]
    rows.sort(key=lambda row: (row.protocol, row.extractor, row.trial, row.victim_seed))
    return settings, tuple(rows)


def _read_settings(path: Path) -> dict[str, Any]:
    if not (path / SETTINGS).exists():
        raise MissingError(f"{path}: no results folder, it has no {SETTINGS}", "Choose another one")
    settings = canonical.loads(store.read_file(path / SETTINGS, FILE_BYTES), str(path / SETTINGS))
    if not isinstance(settings, dict):
        raise DamagedError(f"{path / SETTINGS}: not a JSON object")
    return settings


def _read_row(path: Path) -> Row:
    data = store.read_file(path, FILE_BYTES)
    canonical.loads(data, str(path))
    try:
        row = Row.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise DamagedError(f"{path}: not a result row ({place}: {fault['msg'][:100]})", _REMEDY) from error
    key = job_key(
        content_digest=row.content_digest,
        trial=row.trial,
        protocol=row.protocol,
        protocol_version=row.protocol_version,
        extractor=row.extractor,
        victim_seed=row.victim_seed,
    )
    if not key == row.job == path.stem:
        raise DamagedError(f"{path}: the row of another job ({key[:12]})", _REMEDY)
    return row


_REMEDY: Final = "Remove the file and score again with --resume"
