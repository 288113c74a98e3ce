"""The bases at hand: each is built once, and every later use reads the same pixels or fails."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from poisonsets.manifests.bases import cache_file
from poisonsets.manifests.bases.build import build, completed
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.kind import Progress
from poisonsets.manifests.bases.registry import kinds
from poisonsets.manifests.bases.spec import Spec, add_command, parse_spec, split_options
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.spelling import nearest, unknown
from poisonsets.manifests.workers import silent


@dataclass(frozen=True)
class CacheEntry:
    """A line of `base list`.

    Attributes:
        name: what opens it, from any folder; of a file that cannot be used the file's name.
        spec: what it was made from; empty where that cannot be read.
        pin: name, images, size and digest of its splits; None where the file cannot be used.
        file: the cache file; of an embedded base that was never used, where it will be.
        bytes: what the file takes on disk; 0 where there is none.
        problem: what is wrong with the file.
    """

    name: str
    spec: str
    pin: BasePin | None
    file: Path
    bytes: int = 0
    problem: PoisonsetsError | None = None


def add_base(spec: Spec, *, cache: Path, progress: Progress = silent) -> Base:
    """Build a base from its source and keep it in the cache, replacing an earlier build of the same spec.

    Args:
        spec: from `parse_spec`.
        cache: the cache folder; made where it does not exist.
        progress: called with the images read so far and their total, None where that is unknown.

    Raises:
        UsageError: the options make no sense for this source.
        MissingError: the source is missing, the cache cannot be written, or another process is building this
            base.
        DamagedError: something in the source cannot be read.
    """
    path = _path(spec, cache)
    with cache_file.locked(path):
        base = build(spec, progress)
        cache_file.write_base(base, spec, path)
    for entry in _entries(cache):
        if entry.spec == spec.text and isinstance(entry.problem, cache_file.EarlierVersionError):
            _remove(entry.file)  # an earlier version named its files otherwise
    return base


def open_base(name: str, *, cache: Path) -> Base:
    """A base from the cache. Embedded bases are built on first use.

    Args:
        name: a name of `list_bases`, or a spec; a spec without options opens the only base that was made from that
            source, with the options it was made with.
        cache: the cache folder.

    Raises:
        UsageError: there is no such base, or several.
        MissingError: it was not added; the remedy is the command line that adds it.
        DamagedError: the cached file is not what was written.
    """
    entries = _entries(cache)
    found = _find(name, entries, cache)
    if isinstance(found, CacheEntry):
        return _read(found.file, found.spec)
    if found.kind.source == "embedded":
        return _embedded(found, cache)
    raise _not_cached(found, entries)


def find_base(pin: BasePin, *, cache: Path) -> Base:
    """The base whose splits have the digests that a manifest pins, whatever it is called; nothing is written.

    Of several that show the same images the one that agrees most with the pin is taken, and it has the pin's
    `victim_classes`: which classes victims know is a matter of the set, not of who else has these images.

    Raises:
        MissingError: no such base is cached or embedded.
        DamagedError: its file is not what was written.
    """
    pinned = [(entry.pin, entry) for entry in _entries(cache) if entry.pin is not None]
    alike = [(ours, entry) for ours, entry in pinned if _matches(ours, pin)]
    alike.sort(key=lambda one: _closeness(one[0], pin))
    same_name = any(ours.name == pin.name for ours, _ in pinned)
    kind = kinds().get(pin.name)
    # A copy of an embedded base agrees with the pin less than that base itself, which need not be cached.
    if kind is not None and kind.source == "embedded" and not (alike and alike[-1][0] == pin):
        base = build(Spec(kind))
        if _matches(base.pin(), pin):
            return base.as_pinned(pin)
        same_name = True
    if alike:
        return _read(alike[-1][1].file, alike[-1][1].spec).as_pinned(pin)
    clue = "; one of that name is, with other pixels or labels" if same_name else ""
    kind = kinds().get(pin.name.partition(":")[0])
    command = add_command(pin.name if kind is None else kind.usage)
    raise MissingError(
        f"base {pin.name} ({', '.join(f'{name} {split.digest[:12]}' for name, split in pin.splits.items())}) "
        f"is not in the cache{clue}",
        f"Type `{command}` with the options it was made with",
    )


def list_bases(cache: Path) -> list[CacheEntry]:
    """What is cached, by file name, then the embedded bases that are not. No cached pixels are read."""
    entries = _entries(cache)
    for kind in kinds().values():
        if kind.source == "embedded" and kind.name not in {entry.spec for entry in entries if entry.pin is not None}:
            entries.append(CacheEntry(kind.name, kind.name, build(Spec(kind)).pin(), _path(Spec(kind), cache)))
    return entries


def remove_base(name: str, *, cache: Path) -> CacheEntry:
    """Remove a base from the cache.

    Args:
        name: as for `open_base`, or the name of a file in the cache that cannot be used.
        cache: the cache folder.

    Returns:
        What was removed.

    Raises:
        UsageError: there is no such base in the cache, or several.
        MissingError: it is being made by another process, or cannot be removed.
    """
    entries = _entries(cache)
    found = _find(name, entries, cache)
    if isinstance(found, Spec):
        raise unknown("base in the cache", name, [entry.name for entry in entries])
    _remove(found.file)
    return found


def _path(spec: Spec, cache: Path) -> Path:
    slug = re.sub(r"[^A-Za-z0-9._-]", "-", spec.name)[:60]
    digest = hashlib.sha256(spec.text.encode("utf-8", "surrogateescape")).hexdigest()
    return cache / "bases" / f"{slug}-{digest[:12]}.h5"


def _entries(cache: Path) -> list[CacheEntry]:
    """The files of the cache. A base has the name that manifests know it by where no other has it, else its spec."""
    found: dict[Path, cache_file.CacheRecord | PoisonsetsError] = {}
    for path in sorted((cache / "bases").glob("*.h5")):
        try:
            found[path] = cache_file.read_record(path)
        except PoisonsetsError as error:
            found[path] = error
    names = Counter(record.pin.name for record in found.values() if isinstance(record, cache_file.CacheRecord))
    names.update(kind.name for kind in kinds().values() if kind.source == "embedded")
    entries = []
    for path, record in found.items():
        size = path.stat().st_size if path.exists() else 0
        if isinstance(record, cache_file.CacheRecord):
            name = record.pin.name if names[record.pin.name] == 1 else record.spec
            entries.append(CacheEntry(name, record.spec, record.pin, path, size))
        else:
            spec = record.spec if isinstance(record, cache_file.EarlierVersionError) else ""
            entries.append(CacheEntry(path.name, spec, None, path, size, record))
    return entries


def _find(name: str, entries: list[CacheEntry], cache: Path) -> CacheEntry | Spec:
    """The file that a name opens; else the spec that it is.

    Raises:
        UsageError: it is none, or several files could be meant.
    """
    for entry in entries:
        if entry.name == name:
            return entry
    spec = parse_spec(name, known=[entry.name for entry in entries])
    if spec.kind.source == "embedded":  # made anew where its file cannot be used
        return spec
    place, options = split_options(spec.text)
    found = [replace(entry, spec=spec.text) for entry in entries if entry.file == _path(spec, cache)]
    if not found and not options:
        found = [entry for entry in entries if split_options(entry.spec)[0] == place]
        found = found or [entry for entry in entries if entry.pin is not None and entry.pin.name == name]
    if len(found) > 1:
        names = " or ".join(shlex.quote(entry.name) for entry in found)
        raise UsageError(f"{name} names {len(found)} bases of the cache", f"Choose {names}")
    return found[0] if found else spec


def _embedded(spec: Spec, cache: Path) -> Base:
    path = _path(spec, cache)
    with suppress(MissingError):
        return _read(path, spec.text)
    with cache_file.locked(path):
        try:
            cache_file.read_record(path)  # whoever held the lock before may have built it
        except MissingError:
            cache_file.write_base(build(spec), spec, path)
    return _read(path, spec.text)


def _read(path: Path, spec: str) -> Base:
    try:
        return cache_file.read_base(path)
    except DamagedError as error:
        command = add_command(spec) if spec else f"poisonsets base remove {path.name}"
        raise DamagedError(error.message, f"Type `{command}`") from error


def _remove(path: Path) -> None:
    with cache_file.locked(path):
        store.remove_file(path, missing_ok=True)


def _not_cached(spec: Spec, entries: list[CacheEntry]) -> MissingError:
    remedy = f"Type `{spec.add_command}`"
    if spec.kind.download:
        remedy += ", or --from PATH in place of --download"
    with suppress(PoisonsetsError):  # a source that is not there, or cannot be read
        remedy = f"Type `{completed(spec).add_command}`"
    place = split_options(spec.text)[0]
    others = [entry.name for entry in entries if split_options(entry.spec)[0] == place]
    if spec.path is not None and not spec.path.exists():
        others += [near] if (near := nearest(spec.text, [entry.name for entry in entries])) else []
    if others:
        remedy += f", or open {' or '.join(map(shlex.quote, others))}"
    return MissingError(f"base {spec.text} is not in the cache", remedy)


def _matches(ours: BasePin, wanted: BasePin) -> bool:
    digests = {name: split.digest for name, split in ours.splits.items()}
    return bool(wanted.splits) and all(split.digest == digests.get(name) for name, split in wanted.splits.items())


def _closeness(ours: BasePin, wanted: BasePin) -> tuple[bool, ...]:
    """Sorts the bases with equal digests: the same pin last, then equal classes, then as many classes."""
    same = ours.classes == wanted.classes
    as_many = len(ours.classes) == len(wanted.classes)
    return ours == wanted, same and ours.victim_classes == wanted.victim_classes, same, as_many
