"""The bases at hand: each is built once, and every later use reads the same pixels or fails."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from poisonsets.manifests.bases import stored
from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.kind import Progress
from poisonsets.manifests.bases.registry import Spec, kinds, parse_spec, spelling
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.records.base import BasePin, SplitPin
from poisonsets.manifests.records.fields import Split


def add(
    spec: str,
    *,
    cache: Path,
    source: Path | None = None,
    holdout: str | None = None,
    split_seed: int = 0,
    resize: int | None = None,
    progress: Progress | None = None,
) -> Base:
    """Build a base from its source and keep it in the cache, replacing an earlier build of the same spec.

    Args:
        spec: `digits`, `cifar10`, `folder:PATH` and so on; see `registry.kinds`.
        cache: the cache folder; made where it does not exist.
        source: the folder or file of a kind that is given one (`--from`).
        holdout: the fraction "a/b" of the images to draw as test split where the source has none.
        split_seed: the seed of that draw.
        resize: the side in pixels to resize every image to, or None.
        progress: called with the images read so far and their total, None where that is unknown.

    Raises:
        UsageError: spec or options make no sense for this source.
        MissingError: the source is missing, the cache cannot be written, or another process is building this
        base. DamagedError: something in the source cannot be read.
    """
    wanted = parse_spec(spec, holdout=holdout, split_seed=split_seed, resize=resize)
    path = _path(wanted, cache)
    with stored.locked(path):
        base = build(wanted, source, progress)
        stored.write(base, wanted, path)
    return base


def open_base(
    spec: str, *, cache: Path, holdout: str | None = None, split_seed: int = 0, resize: int | None = None
) -> Base:
    """A base from the cache. Embedded bases are built on first use.

    Args: as for `add`.

    Raises:
        UsageError: spec or options make no sense.
        MissingError: it was not added; the remedy is the command line that adds it.
        DamagedError: the cached file is not what was written.
    """
    wanted = parse_spec(spec, holdout=holdout, split_seed=split_seed, resize=resize)
    path = _path(wanted, cache)
    if path.exists():
        return _read(path, wanted.add_command)
    if wanted.kind.source != "embedded":
        raise _not_cached(wanted, cache)
    with stored.locked(path):
        # Whoever held the lock before may have built it.
        if not path.exists():
            stored.write(build(wanted, None), wanted, path)
    return _read(path, wanted.add_command)


def find_base(pin: BasePin, *, cache: Path) -> Base:
    """The base whose splits have the digests that a manifest pins, whatever it is called; nothing is written.

    Of several that show the same images the one that agrees most with the pin is taken, and it has the pin's
    `victim_classes`: which classes victims know is a matter of the set, not of who else has these images.

    Raises:
        MissingError: no such base is cached or embedded.
        DamagedError: its file is not what was written.
    """
    found: list[tuple[tuple[bool, ...], Path, str]] = []
    same_name = False
    for path, record in _records(cache):
        if isinstance(record, stored.StoredRecord):
            if _matches(record.pin, pin):
                found.append((_closeness(record.pin, pin), path, f"poisonsets base add {record.spec}{record.options}"))
            same_name |= record.pin.name == pin.name
    found.sort(reverse=True)
    kind = kinds().get(pin.name)
    # A copy of an embedded base agrees with the pin less than that base itself, which need not be cached.
    if kind is not None and kind.source == "embedded" and not (found and found[0][0][0]):
        base = build(parse_spec(kind.name), None)
        if _matches(base.pin(), pin):
            return base.as_pinned(pin)
        same_name = True
    if found:
        _, path, command = found[0]
        return _read(path, command).as_pinned(pin)
    clue = "; one of that name is, with other pixels or labels" if same_name else ""
    raise MissingError(
        f"base {pin.name} ({', '.join(f'{name} {split.digest[:12]}' for name, split in pin.splits.items())}) "
        f"is not in the cache{clue}",
        f"Type `{_recorded_add_command(pin.name)}` with the options it was made with",
    )


@dataclass(frozen=True)
class Listed:
    """A line of `base list`.

    Attributes:
        name: the base's name in manifests.
        spec, options: how it was added.
        splits: images, size and digest of each split; empty where the file is damaged.
        file: the cache file, or None for an embedded base that was never used.
        problem: what is wrong with the file, else empty.
    """

    name: str
    spec: str
    options: str
    splits: dict[Split, SplitPin]
    file: Path | None
    problem: str = ""


def list_bases(cache: Path) -> list[Listed]:
    """What is cached, by file name, then the embedded bases that are not. No cached pixels are read."""
    lines = []
    for path, record in _records(cache):
        if isinstance(record, DamagedError):
            lines.append(Listed(path.name, "", "", {}, path, record.message))
        else:
            pin = record.pin
            lines.append(Listed(pin.name, record.spec, record.options, pin.splits, path))
    cached = {line.spec + line.options for line in lines}
    for kind in kinds().values():
        if kind.source == "embedded" and kind.name not in cached:
            base = build(parse_spec(kind.name), None)
            lines.append(Listed(base.name, kind.name, "", base.pin().splits, None))
    return lines


def _path(spec: Spec, cache: Path) -> Path:
    slug = re.sub(r"[^A-Za-z0-9._-]", "-", spec.name)[:60]
    digest = hashlib.sha256(spec.key.encode("utf-8", "surrogateescape")).hexdigest()
    return cache / "bases" / f"{slug}-{digest[:12]}.h5"


def _records(cache: Path) -> Iterator[tuple[Path, stored.StoredRecord | DamagedError]]:
    for path in sorted((cache / "bases").glob("*.h5")):
        try:
            yield path, stored.read_record(path)
        except DamagedError as error:
            yield path, error


def _read(path: Path, add_command: str) -> Base:
    try:
        return stored.read(path)
    except DamagedError as error:
        raise DamagedError(error.message, f"Remove the file and type `{add_command}`") from error


def _not_cached(wanted: Spec, cache: Path) -> MissingError:
    other = ", or --from PATH in the place of --download" if wanted.kind.download else ""
    remedy = f"Type `{wanted.add_command}`{other}"
    for _, record in _records(cache):
        if isinstance(record, stored.StoredRecord) and record.spec == wanted.text:
            remedy += f", or open it as it was added, with{record.options or ' no options'}"
    return MissingError(f"base {wanted.key} is not in the cache", remedy)


def _matches(ours: BasePin, wanted: BasePin) -> bool:
    digests = {name: split.digest for name, split in ours.splits.items()}
    return bool(wanted.splits) and all(split.digest == digests.get(name) for name, split in wanted.splits.items())


def _closeness(ours: BasePin, wanted: BasePin) -> tuple[bool, ...]:
    """Sorts the bases with equal digests: the same pin last, then equal classes, then as many classes."""
    same = ours.classes == wanted.classes
    return ours == wanted, same and ours.victim_classes == wanted.victim_classes, same, _as_many(ours, wanted)


def _as_many(ours: BasePin, wanted: BasePin) -> bool:
    return len(ours.classes) == len(wanted.classes)


def _recorded_add_command(name: str) -> str:
    """The command for a base that is known by its recorded name only, which holds no path."""
    kind = kinds().get(name.partition(":")[0])
    if kind is None:
        return f"poisonsets base add {name}"
    if kind.source == "spec":
        return f"poisonsets base add {spelling(kind)}"
    return parse_spec(kind.name).add_command
