"""Damage: every byte of the set is as recorded and nothing else is there. Runs first and needs no base dataset."""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.records.manifest import FileRecord
from poisonsets.manifests.sets.reader import PoisonSet
from poisonsets.manifests.sets.writer import MANIFEST, RUN
from poisonsets.manifests.verification.findings import Finding

CODES = {
    "D101": "The manifest is there, canonical, valid, and its checksum holds.",
    "D102": "No file is missing.",
    "D103": "Every file has the recorded size and sha256.",
    "D104": "Nothing is there that the manifest does not list; no links, no special files.",
    "D105": "Every shard and picture is the canonical spelling of its samples.",
    "D106": "run.json, which is listed without a hash, holds its own checksum.",
    "D107": "The manifest says nothing that this version cannot read.",
}
REMEDY = "Fetch the set again"


def check_files(opened: PoisonSet, unread: Collection[str] = ()) -> Iterator[Finding]:
    """D102, D103, D104 and D106 over the whole folder; of the `unread` files, check name, kind and size only."""
    trial_of = {path: number for number, paths in opened.shards.items() for path in paths}
    for record in opened.manifest.files:
        trial = trial_of.get(record.path)
        if record.path in unread:
            yield from _check_size(opened.path, record, trial)
            continue
        try:
            opened.read(record.path)
        except DamagedError as error:
            gone = not (opened.path / record.path).exists()
            yield Finding("D102" if gone else "D103", error.message, REMEDY, part=record.path, trial=trial)
    yield from _check_run(opened.path)
    yield from _check_unlisted(opened.path, {record.path for record in opened.manifest.files} | {MANIFEST, RUN})


def _check_size(folder: Path, record: FileRecord, trial: int | None) -> Iterator[Finding]:
    """Check that an unread file exists and has the recorded size; D104 checks its kind."""
    try:
        size = (folder / record.path).lstat().st_size
    except OSError as error:
        message = f"{folder}: {record.path} is missing or cannot be read ({error.strerror})"
        yield Finding("D102", message, REMEDY, part=record.path, trial=trial)
        return
    if size != record.bytes:
        message = f"{folder}: {record.path} has {size} bytes, the manifest says {record.bytes}"
        yield Finding("D103", message, REMEDY, part=record.path, trial=trial)


def _check_run(folder: Path) -> Iterator[Finding]:
    try:
        data = store.read_file(folder / RUN, limits.RUN_BYTES)
        document = canonical_json.loads(data, RUN)
        if not isinstance(document, dict) or document.get("checksum") != canonical_json.checksum(document):
            raise DamagedError(f"{RUN}: its checksum differs from its contents")
    except MissingError as error:
        yield Finding("D102", error.message, REMEDY, part=RUN)
    except DamagedError as error:
        yield Finding("D106", error.message, REMEDY, part=RUN)


def _check_unlisted(folder: Path, wanted: set[str]) -> Iterator[Finding]:
    parents = {str(Path(path).parent) for path in wanted} - {"."}
    unread: list[OSError] = []
    for root, folders, files in os.walk(folder, followlinks=False, onerror=unread.append):
        inside = Path(root).relative_to(folder)
        for name in sorted(folders):
            path = (inside / name).as_posix()
            if (folder / path).is_symlink() or path not in parents:
                yield Finding("D104", "a folder that the manifest does not account for", "Move it away", part=path)
                folders.remove(name)
        for name in sorted(files):
            path = (inside / name).as_posix()
            if path not in wanted:
                yield Finding("D104", "a file that the manifest does not list", "Move it away", part=path)
            elif not stat.S_ISREG((folder / path).lstat().st_mode):
                yield Finding("D104", "not a plain file", REMEDY, part=path)
    for error in unread:
        message = f"cannot be listed ({error.strerror}), so it may hold anything"
        yield Finding("D104", message, REMEDY, part=str(error.filename))
