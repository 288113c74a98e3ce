"""What lies in the cache of bases, and which of it a name opens."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from poisonsets.manifests.bases.cache_file import CacheRecord, EarlierVersionError, read_record
from poisonsets.manifests.bases.registry import kinds
from poisonsets.manifests.bases.spec import Spec, parse_spec, split_options
from poisonsets.manifests.errors import PoisonsetsError, UsageError
from poisonsets.manifests.records.base import BasePin


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


def cache_path(spec: Spec, cache: Path) -> Path:
    """Where the base of a spec is kept."""
    slug = re.sub(r"[^A-Za-z0-9._-]", "-", spec.name)[:60]
    digest = hashlib.sha256(spec.text.encode("utf-8", "surrogateescape")).hexdigest()
    return cache / "bases" / f"{slug}-{digest[:12]}.h5"


def cache_entries(cache: Path) -> list[CacheEntry]:
    """The files of the cache, by name: the one that manifests know a base by where no other has it, else its spec."""
    found: dict[Path, CacheRecord | PoisonsetsError] = {}
    for path in sorted((cache / "bases").glob("*.h5")):
        try:
            found[path] = read_record(path)
        except PoisonsetsError as error:
            found[path] = error
    names = Counter(record.pin.name for record in found.values() if isinstance(record, CacheRecord))
    names.update(kind.name for kind in kinds().values() if kind.source == "embedded")
    entries = []
    for path, record in found.items():
        size = path.stat().st_size if path.exists() else 0
        if isinstance(record, CacheRecord):
            name = record.pin.name if names[record.pin.name] == 1 else record.spec
            entries.append(CacheEntry(name, record.spec, record.pin, path, size))
        else:
            spec = record.spec if isinstance(record, EarlierVersionError) else ""
            entries.append(CacheEntry(path.name, spec, None, path, size, record))
    return sorted(entries, key=lambda entry: entry.name)


def find_entry(name: str, entries: list[CacheEntry], cache: Path) -> CacheEntry | Spec:
    """The entry that a name opens: by its own name, by its spec, or the only one from that source; else the spec.

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
    found = [replace(entry, spec=spec.text) for entry in entries if entry.file == cache_path(spec, cache)]
    if not found and not options:
        found = [entry for entry in entries if split_options(entry.spec)[0] == place]
        found = found or [entry for entry in entries if entry.pin is not None and entry.pin.name == name]
    if len(found) > 1:
        names = " or ".join(shlex.quote(entry.name) for entry in found)
        raise UsageError(f"{name} names {len(found)} bases of the cache", f"Choose {names}")
    return found[0] if found else spec
