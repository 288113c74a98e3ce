"""Write a poison set so that it is complete or absent.

While it grows, a set is NAME.partial/set; beside it stand NAME.partial/request.json (what was asked for) and
NAME.partial/journal (an entry for each finished trial, written after its shards). The manifest is written last, then
the folder is renamed to NAME. A process killed at any moment leaves something to resume, never something that looks
finished.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records import identity
from poisonsets.manifests.records.fields import Strict
from poisonsets.manifests.records.manifest import FileRecord, Manifest
from poisonsets.manifests.records.shards import shard_index, shard_path
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.records.unsupported import refuse_unsupported
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.card import card

MANIFEST = "manifest.json"
RUN = "run.json"
CARD = "README.md"
REQUEST = "request.json"
JOURNAL = "journal"
PAYLOAD = "set"


class JournalEntry(Strict):
    """A finished trial and its files."""

    trial: Trial
    files: tuple[FileRecord, ...]


class SetWriter:
    """Collects finished trials in a folder that is not yet a set; made by `write_set`.

    Attributes:
        finished: the complete trials by number, also those of the run that is resumed.
    """

    def __init__(self, partial: Path, final: Path) -> None:
        self._journal = partial / JOURNAL
        self._payload = partial / PAYLOAD
        self._final = final
        self._files: dict[str, FileRecord] = {}
        self.finished: dict[int, Trial] = {}

    def add_trial(self, trial: Trial, images: Images) -> None:
        """Write a trial's shards, then its journal entry.

        Args:
            trial: the record; it holds the labels, and the pixel digest of these images and labels.
            images: uint8 [P, H, W, 3], in slot order.
        """
        labels = np.array(trial.slots.labels, dtype=np.int64)
        files = []
        for number, first in enumerate(range(0, len(images), limits.SLOTS_PER_SHARD)):
            some = slice(first, first + limits.SLOTS_PER_SHARD)
            data = shard.encode(trial.trial, first, images[some], labels[some])
            files.append(self._write(shard_path(trial.trial, number), data))
        entry = JournalEntry(trial=trial, files=tuple(files))
        path = self._journal / f"{trial.trial:05d}.json"
        store.write_file(path, canonical_json.dumps(entry.model_dump(mode="json")))
        self._accept(entry)

    def add_file(self, path: str, data: bytes) -> None:
        """Write another file of the set: a trigger's picture, targets, a surrogate."""
        self._files[path] = self._write(path, data)

    def publish(self, head: Mapping[str, Any], run: Mapping[str, Any]) -> Manifest:
        """Write card, run record and manifest, and give the set its final name.

        Args:
            head: the manifest's fields except trials, shards, files, content digest and checksum.
            run: what may differ between equal runs (times, host, device), for `run.json`.

        Raises UnsupportedError where the readers of this version would refuse the set.
        """
        # A trial that an interrupted run left unfinished, and this one refused, leaves shards behind.
        for leftover in sorted(self._payload.rglob("*")):
            if leftover.is_file() and leftover.relative_to(self._payload).as_posix() not in self._files:
                store.remove_file(leftover)
        trials = tuple(self.finished[number] for number in sorted(self.finished))
        written = {"trials": trials, "shards": shard_index(trials), "files": ()}
        draft = Manifest(content_digest="0" * 64, checksum="0" * 64, **{**head, **written})
        refuse_unsupported(draft, str(self._final))
        draft = draft.model_copy(update={"content_digest": identity.content_digest(draft)})
        self.add_file(CARD, card(draft).encode())
        files = tuple(self._files[path] for path in sorted(self._files))
        data = canonical_json.checksummed(draft.model_copy(update={"files": files}).model_dump(mode="json"))
        manifest = Manifest.model_validate_json(data)
        store.write_file(self._payload / RUN, canonical_json.checksummed(dict(run)))
        store.write_file(self._payload / MANIFEST, data)
        store.move_folder(self._payload, self._final)
        store.remove_folder(self._journal.parent)
        return manifest

    def _write(self, path: str, data: bytes) -> FileRecord:
        store.write_file(self._payload / path, data)
        return FileRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def _accept(self, entry: JournalEntry) -> None:
        self.finished[entry.trial.trial] = entry.trial
        self._files.update({record.path: record for record in entry.files})

    def _read_journal(self) -> None:
        """Take over the trials that an earlier run finished; one whose files are not whole is not finished."""
        for path in sorted(self._journal.glob("*.json")):
            try:
                data = store.read_file(path, limits.MANIFEST_BYTES)
                canonical_json.loads(data, path.name)
                entry = JournalEntry.model_validate_json(data)
                for record in entry.files:
                    content = store.read_file(self._payload / record.path, record.bytes)
                    if hashlib.sha256(content).hexdigest() != record.sha256:
                        raise DamagedError(f"{record.path}: not as written")
            except (PoisonsetsError, ValueError):
                store.remove_file(path)
            else:
                self._accept(entry)


def partial_path(final: Path) -> Path:
    """Where a set grows until it gets its final name: NAME.partial beside it."""
    named = final if final.name not in ("", "..") else final.resolve()
    return named.with_name(f"{named.name}.partial")


def refuse_output(final: Path, *, resume: bool) -> None:
    """Refuse an output folder that cannot become a set, before anything is computed or written.

    With `resume` a finished set passes; the caller compares it with the one asked for.

    Raises:
        MissingError: it is not empty, an unfinished set stands beside it and `resume` is off, or nothing can be
            made there.
    """
    if final.name.endswith(".partial"):
        remedy = f"Give {final.name.removesuffix('.partial')}, with --resume to go on"
        raise MissingError(f"{final}: .partial ends the names of unfinished sets", remedy)
    if resume and (final / MANIFEST).exists():
        return
    store.refuse_nonempty(final)
    partial = partial_path(final)
    if not resume and partial.is_dir() and not _killed_at_once(partial):
        raise MissingError(f"{partial}: an unfinished set is here", "Add --resume to go on with it, or remove it")
    store.refuse_unwritable(partial)


def _killed_at_once(partial: Path) -> bool:
    """Whether the run that made it was killed before it wrote its request, so that there is nothing to resume."""
    leftovers = partial.glob(f"{REQUEST}.*{store.TEMPORARY}")
    return {path.name for path in partial.iterdir()} == {path.name for path in leftovers}


@contextmanager
def write_set(final: Path, request: Mapping[str, Any], *, resume: bool) -> Iterator[SetWriter]:
    """Begin a set in an output folder, or go on with an unfinished one.

    Args:
        final: the set's folder; it must not exist or be empty.
        request: everything that decides what the set will hold; resuming takes an equal one.
        resume: go on with NAME.partial where there is one.

    Raises:
        MissingError: the folder is not empty, is held by another process, cannot be written, or the unfinished set
            was made by another request.
    """
    store.refuse_nonempty(final)
    refuse_output(final, resume=resume)
    partial = partial_path(final)
    final = partial.with_name(partial.name.removesuffix(".partial"))  # "." cannot be renamed to, its name can
    store.make_folder(partial)
    with store.locked(partial):
        try:
            store.refuse_nonempty(final)  # another process may have finished the set before this one had the lock
        except MissingError:
            with suppress(OSError):
                partial.rmdir()  # made by this process; one with something in it stays
            raise
        writer = SetWriter(partial, final)
        store.sweep(partial)
        if any(partial.iterdir()):
            _refuse_other_request(partial, request)
            writer._read_journal()
        else:  # new, or its maker was killed before it wrote the request
            store.write_file(partial / REQUEST, canonical_json.dumps(dict(request)))
        yield writer


def _refuse_other_request(partial: Path, request: Mapping[str, Any]) -> None:
    data = store.read_file(partial / REQUEST, limits.MANIFEST_BYTES)
    if differing := canonical_json.difference(canonical_json.loads(data, REQUEST), dict(request)):
        raise MissingError(
            f"{partial}: the unfinished set was made by another command ({differing})",
            "Repeat that command with --resume, or remove the folder",
        )
