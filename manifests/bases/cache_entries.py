"""The files in the cache of bases, and which of them a name opens."""

import hashlib
import re
import shlex
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from poisonsets.manifests.bases.cache_file import EarlierVersionError, read_record
from poisonsets.manifests.bases.registry import kinds
from poisonsets.manifests.bases.spec import Spec, parse_spec, split_options
from poisonsets.manifests.errors import PoisonsetsError, UsageError
from poisonsets.manifests.records.base import BasePin


@dataclass(frozen=True)
class CacheEntry:
    """A line of `base list`.

    Attributes:
        name: opens it from any folder; the file's name where that cannot be used.
        spec: what it was made from; empty where that cannot be read.
        pin: what a manifest records of it; None where the file cannot be used.
        file: the cache file; of an embedded base that was never used, its future path.
        bytes: the size of the file on disk; 0 where there is none.
        problem: why the file cannot be used.
    """

    name: str
    spec: str
    pin: BasePin | None
    file: Path
    bytes: int = 0
    problem: PoisonsetsError | None = None


def cache_path(spec: Spec, cache: Path) -> Path:
    """The cache file of a spec's base."""
    slug = re.sub(r"[^A-Za-z0-9._-]", "-", spec.name)[:60]
    digest = hashlib.sha256(spec.text.encode("utf-8", "surrogateescape")).hexdigest()
    return cache / "bases" / f"{slug}-{digest[:12]}.h5"


def cache_entries(cache: Path) -> list[CacheEntry]:
    """The files of the cache, by name: that of their manifests where no other base has it, else their spec."""
    entries = []
    for path in sorted((cache / "bases").glob("*.h5")):
        size = path.stat().st_size if path.exists() else 0
        try:
            record = read_record(path)
            entries.append(CacheEntry(record.spec, record.spec, record.pin, path, size))
        except PoisonsetsError as error:
            spec = error.spec if isinstance(error, EarlierVersionError) else ""
            entries.append(CacheEntry(path.name, spec, None, path, size, error))
    names = Counter(entry.pin.name for entry in entries if entry.pin is not None)
    names.update(kind.name for kind in kinds().values() if kind.source == "embedded")
    for number, entry in enumerate(entries):
        if entry.pin is not None and names[entry.pin.name] == 1:
            entries[number] = replace(entry, name=entry.pin.name)
    return sorted(entries, key=lambda entry: entry.name)


def find_entry(name: str, entries: list[CacheEntry], cache: Path) -> CacheEntry | Spec:
    """The entry of that name or spec, or the only one from that source; the spec where there is none.

    Raises:
        UsageError: no kind of base has that name, or several files could be meant.
    """
    for entry in entries:
        if entry.name == name:
            return entry
    spec = parse_spec(name, known=[entry.name for entry in entries])
    if spec.kind.source == "embedded":  # made anew where its file cannot be used
        return spec
    place, options = split_options(spec.text)
    found = [replace(entry, spec=spec.text) for entry in entries if entry.file == cache_path(spec, cache)]
    if not found and not options:
        found = [entry for entry in entries if split_options(entry.spec)[0] == place]
        found = found or [entry for entry in entries if entry.pin is not None and entry.pin.name == name]
    if len(found) > 1:
        names = " or ".join(shlex.quote(entry.name) for entry in found)
        raise UsageError(f"{name} names {len(found)} bases in the cache", f"Choose {names}")
    return found[0] if found else spec
