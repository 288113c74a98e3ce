"""Rows from results folders, folders of such, row files and `score --json` documents; copies count once."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.records.fields import first_fault
from poisonsets.victims.results.folder import FILE_BYTES, SETTINGS, read_row
from poisonsets.victims.results.job import base_digest
from poisonsets.victims.results.row import Row

_MEASURED: Final = ("targets", "source_poisoned", "source_control", "control_rows", "clean_correct", "control_correct")
_REMEDY: Final = "Give results folders, their row files, or the JSON documents of scores"


def read_results(paths: Iterable[Path]) -> tuple[Row, ...]:
    """The rows at all paths, sorted by job, each job once.

    Args:
        paths: results folders, folders whose subfolders are results folders, files `rows/JOB.json`, JSON documents with
            a field `rows`, or JSON lists of rows.

    Raises:
        MissingError: nothing is there, or a folder is no results folder.
        DamagedError: a row or document cannot be read, or contradicts itself.
        UsageError: two rows of one job have different results, or there is no row at all.
    """
    found: dict[str, tuple[Path, Row]] = {}
    given = tuple(paths)
    for path in given:
        for place, row in _rows_at(path):
            known = found.get(row.job)
            found[row.job] = (place, row) if known is None else _one_of(known, (place, row))
    if not found:
        raise UsageError(f"{', '.join(map(str, given)) or 'nothing'}: no rows to compare", "Score a set with -o first")
    return tuple(found[job][1] for job in sorted(found))


def _one_of(one: tuple[Path, Row], other: tuple[Path, Row]) -> tuple[Path, Row]:
    """The copy that says more, whichever came first.

    Raises:
        UsageError: they are two measurements.
    """
    for name in _MEASURED:
        if getattr(one[1], name) != getattr(other[1], name):
            places = " and ".join(sorted({str(one[0]), str(other[0])}))
            raise UsageError(
                f"{places}: two rows of job {one[1].job[:12]} (trial {one[1].trial}) differ in {name}",
                "Give one of the two",
            )
    return max(one, other, key=lambda copy: (_said(copy[1]), canonical_json.dumps(copy[1].model_dump(mode="json"))))


def _said(row: Row) -> int:
    return sum(value is not None for value in (row.set_name, row.attack, row.base_digest, row.task))


def _rows_at(path: Path) -> Sequence[tuple[Path, Row]]:
    if path.is_dir():
        folders = [path] if (path / SETTINGS).is_file() else _below(path)
        if not folders:
            raise MissingError(f"{path}: no results folder, it has no {SETTINGS}", _REMEDY)
        return [found for folder in folders for found in _rows_of_folder(folder)]
    if not path.is_file():
        raise MissingError(f"{path}: no such file or folder", _REMEDY)
    document = canonical_json.parse(store.read_file(path, FILE_BYTES), str(path), _REMEDY)
    if isinstance(document, dict) and "job" in document:
        return [(path, read_row(path))]
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise DamagedError(f"{path}: no rows in it", _REMEDY)
    return [(path, _row(one, f"{path}: row {number}")) for number, one in enumerate(rows)]


def _below(path: Path) -> list[Path]:
    with store.refusals(path):
        return sorted(one for one in path.iterdir() if not one.is_symlink() and (one / SETTINGS).is_file())


def _rows_of_folder(folder: Path) -> list[tuple[Path, Row]]:
    where = folder / SETTINGS
    settings = canonical_json.loads(store.read_file(where, FILE_BYTES), str(where))
    splits = settings.get("base") if isinstance(settings, dict) else None
    if not isinstance(splits, dict) or not all(isinstance(one, str) for one in splits.values()):
        raise DamagedError(f"{where}: names no base", _REMEDY)
    digest = base_digest(splits)
    rows = [(path, read_row(path)) for path in sorted((folder / "rows").glob("*.json"))]
    for path, row in rows:
        if row.base_digest not in (None, digest):
            raise DamagedError(f"{path}: the row of another base than {where} names", "Remove it")
    return [(path, row.model_copy(update={"base_digest": digest})) for path, row in rows]


def _row(document: Any, where: str) -> Row:
    try:
        return Row.model_validate_json(canonical_json.dumps(document))
    except ValidationError as error:
        raise DamagedError(f"{where}: not a result row ({first_fault(error)})", _REMEDY) from error
