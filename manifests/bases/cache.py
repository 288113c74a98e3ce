"""The cache of bases: each is built once, and every later use reads the same pixels or fails."""

import shlex
from contextlib import suppress
from pathlib import Path

from poisonsets.manifests.bases import cache_file
from poisonsets.manifests.bases.build import build, complete
from poisonsets.manifests.bases.cache_entries import CacheEntry, cache_entries, cache_path, find_entry
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.registry import kinds
from poisonsets.manifests.bases.spec import Spec, add_command, split_options
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError
from poisonsets.manifests.files import store
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.spelling import nearest, unknown
from poisonsets.manifests.workers import Progress, silent


def add_base(spec: Spec, *, cache: Path, progress: Progress = silent) -> Base:
    """Build a base from its source and keep it in the cache folder, replacing an earlier build of the same spec.

    Raises:
        UsageError, DamagedError: as `build`.
        MissingError: likewise, or the cache cannot be written, or another process is building this base.
    """
    path = cache_path(spec, cache)
    with cache_file.locked(path):
        base = build(spec, progress)
        cache_file.write_base(base, spec, path)
    for entry in cache_entries(cache):
        if entry.spec == spec.text and isinstance(entry.problem, cache_file.EarlierVersionError):
            _remove(entry.file)  # earlier versions named their files otherwise
    return base


def open_base(name: str, *, cache: Path) -> Base:
    """A base from the cache. Embedded bases are built on first use.

    Args:
        name: a name of `list_bases`, or a spec; a spec without options opens the only base that was made from that
            source, with the options it was made with.

    Raises:
        UsageError: there is no such base, or several.
        MissingError: it was not added; the remedy is the command that adds it.
        DamagedError: the cached file is not what was written.
    """
    found = locate_base(name, cache=cache)
    return _embedded(found, cache) if isinstance(found, Spec) else _read(found.file, found.spec)


def locate_base(name: str, *, cache: Path) -> CacheEntry | Spec:
    """What `open_base` would open, but unread: an entry, or the spec of an embedded base. Raises as `open_base`."""
    entries = cache_entries(cache)
    found = find_entry(name, entries, cache)
    if isinstance(found, Spec) and found.kind.source != "embedded":
        raise _not_cached(name, found, entries)
    return found


def find_base(pin: BasePin, *, cache: Path) -> Base:
    """The base with the pinned digests, whatever it is called, and with the pin's victim classes; nothing is written.

    Of several bases with these images, the one that agrees most with the pin is taken.

    Raises:
        MissingError: no such base is cached or embedded.
        DamagedError: its file is not what was written.
    """
    cached = [(entry.pin, entry) for entry in cache_entries(cache) if entry.pin is not None]
    alike = [(ours, entry) for ours, entry in cached if _same_images(ours, pin)]
    best = max(reversed(alike), key=lambda one: _agreement(one[0], pin), default=None)
    same_name = any(ours.name == pin.name for ours, _ in cached)
    kind = kinds().get(pin.name)
    # A copy of an embedded base agrees less with the pin than that base itself, which need not be cached.
    if kind is not None and kind.source == "embedded" and (best is None or best[0] != pin):
        base = build(Spec(kind))
        if _same_images(base.pin(), pin):
            return base.as_pinned(pin)
        same_name = True
    if best is not None:
        return _read(best[1].file, best[1].spec).as_pinned(pin)
    clue = "; one of that name is, with other pixels or labels" if same_name else ""
    kind = kinds().get(pin.name.partition(":")[0])
    command = add_command(pin.name if kind is None else kind.usage)
    raise MissingError(
        f"base {pin.name} ({', '.join(f'{name} {split.digest[:12]}' for name, split in pin.splits.items())}) "
        f"is not in the cache{clue}",
        f"Type `{command}` with the options it was made with",
    )


def list_bases(cache: Path) -> list[CacheEntry]:
    """The cached bases by name, then the embedded ones that are not cached. No cached pixels are read."""
    entries = cache_entries(cache)
    usable = {entry.spec for entry in entries if entry.pin is not None}
    for kind in kinds().values():
        if kind.source == "embedded" and kind.name not in usable:
            entries.append(CacheEntry(kind.name, kind.name, build(Spec(kind)).pin(), cache_path(Spec(kind), cache)))
    return entries


def remove_base(name: str, *, cache: Path) -> CacheEntry:
    """Remove the base that `open_base` would open, or an unusable file by its file name; returns its former entry.

    Raises:
        UsageError: there is no such base in the cache, or several.
        MissingError: another process is making it, or it cannot be removed.
    """
    entries = cache_entries(cache)
    found = find_entry(name, entries, cache)
    if isinstance(found, Spec):
        raise unknown("base in the cache", name, [entry.name for entry in entries])
    _remove(found.file)
    return found


def _embedded(spec: Spec, cache: Path) -> Base:
    path = cache_path(spec, cache)
    with suppress(MissingError):
        return _read(path, spec.text)
    with cache_file.locked(path):
        with suppress(MissingError):  # whoever held the lock before may have built it
            return _read(path, spec.text)
        base = build(spec)
        cache_file.write_base(base, spec, path)
        return base


def _read(path: Path, spec: str) -> Base:
    try:
        return cache_file.read_base(path)
    except DamagedError as error:
        command = add_command(spec) if spec else f"poisonsets base remove {path.name}"
        raise DamagedError(error.message, f"Type `{command}`") from error


def _remove(path: Path) -> None:
    with cache_file.locked(path):
        store.remove_file(path, missing_ok=True)


def _not_cached(name: str, spec: Spec, entries: list[CacheEntry]) -> MissingError:
    remedy = spec.add_remedy
    with suppress(PoisonsetsError):  # a source that is not there, or cannot be read
        remedy = complete(spec).add_remedy
    usable = {entry.name: split_options(entry.spec)[0] for entry in entries if entry.pin is not None}
    others = [other for other, place in usable.items() if place == split_options(spec.text)[0]]
    if not others and spec.path is not None and not spec.path.exists():
        others = list(filter(None, [nearest(name, usable)]))
    if others:
        remedy += f", or open {' or '.join(map(shlex.quote, others))}"
    return MissingError(f"base {spec.text} is not in the cache", remedy)


def _same_images(ours: BasePin, wanted: BasePin) -> bool:
    return all(ours.splits[name].digest == split.digest for name, split in wanted.splits.items())


def _agreement(ours: BasePin, wanted: BasePin) -> tuple[bool, ...]:
    """Grows with what else is equal: the whole pin, the classes and their use, the classes, their number."""
    same_classes = ours.classes == wanted.classes
    same_use = same_classes and ours.victim_classes == wanted.victim_classes
    return ours == wanted, same_use, same_classes, len(ours.classes) == len(wanted.classes)
