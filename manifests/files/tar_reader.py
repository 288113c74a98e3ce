"""Samples of image and label from plain WebDataset shards, by a bounded tar reader of our own; nothing is executed."""

import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Self

from poisonsets.manifests.errors import DamagedError, UnsupportedError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.files.images import IMAGE_FILE_BYTES, OTHER_SUFFIXES, OWN_SUFFIXES, SUFFIXES
from poisonsets.manifests.files.junk import in_junk
from poisonsets.manifests.limits import CLASSES

# Headers that describe the next one; the standard library reads and parses them whole.
EXTENDED: Final = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
EXTENDED_BYTES: Final = 1 << 16
SORT: Final = "Write the shard anew, with its members sorted by name"
CONTRADICTION: Final = "labels in .json that are not those in .cls, which are taken"
BROKEN: Final = (
    *(tarfile.TarError, OSError, EOFError, RecursionError),
    *(ValueError, IndexError, KeyError, OverflowError),
)


class Shard:
    """A shard that is read sample by sample.

    Args:
        path: the archive.
        suffixes: of the images that are read.

    Attributes:
        path: the archive.
        passed: how many members, or samples, of each kind were passed over so far.
    """

    def __init__(self, path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        self.path = path
        self.passed: Counter[str] = Counter()
        self._suffixes = suffixes

    def samples(self) -> Iterator[tuple[str, bytes, int]]:
        """Key, image file and label of each sample, in the archive's order; samples without an image are passed over.

        As WebDataset does, a key ends at the first dot of a name and the rest is the field: `a.b.png` is the field
        `b.png` of the sample `a`. A field that is just `png` comes before one that only ends so.

        Raises:
            DamagedError: the archive is broken, holds anything but regular files, or leads out of itself; the members
                of a sample are not adjacent; or a sample has two images, or no label or two.
            UnsupportedError: an image is of a format that is not read.
        """
        seen: set[str] = set()
        for key, members in groupby(self._members(), key=lambda member: _key(member[0])):
            if key in seen:
                raise DamagedError(f"{self.path}: sample {key!a} occurs twice, or its members are not adjacent", SORT)
            seen.add(key)
            fields: dict[str, bytes] = {}
            for name, data in members:
                extension = name[len(key) + 1 :].lower()
                if extension in fields:
                    raise DamagedError(f"{self.path}: sample {key!a} has two members .{ascii(extension)[1:-1]}")
                fields[extension] = data
            found = self._sample(key, fields)
            if found is not None:
                yield key, *found

    def _sample(self, key: str, fields: dict[str, bytes]) -> tuple[bytes, int] | None:
        where = f"{self.path}: sample {key!a}"
        images = _fields(fields, tuple(suffix.removeprefix(".") for suffix in self._suffixes))
        if not images:
            others = _fields(fields, tuple(suffix.removeprefix(".") for suffix in (*OWN_SUFFIXES, *OTHER_SUFFIXES)))
            if others:
                wanted = ", ".join(suffix.removeprefix(".") for suffix in self._suffixes)
                message = f"{where} has an image .{others[0]}, and only {wanted} are read"
                raise UnsupportedError(message, "Convert its images to PNG and write the shards anew")
            self.passed["samples without an image"] += 1
            return None
        labels = _fields(fields, ("cls",))
        label = re.fullmatch(rb"\s*([0-9]{1,9})\s*", fields[labels[0]]) if len(labels) == 1 else None
        if len(images) > 1:
            shown = " and ".join(f".{ascii(name)[1:-1]}" for name in images[:3])
            remedy = "A key ends at the first dot of a name" if any("." in name for name in images) else ""
            raise DamagedError(f"{where} has {len(images)} images: {shown}", remedy)
        if label is None:
            raise DamagedError(f"{where} lacks its one integer label (cls)")
        if int(label[1]) >= CLASSES:
            raise DamagedError(f"{where} has label {int(label[1])}, at most {CLASSES - 1} is read")
        self._note_others(fields, {images[0], labels[0]}, int(label[1]))
        return fields[images[0]], int(label[1])

    def _note_others(self, fields: dict[str, bytes], taken: set[str], label: int) -> None:
        for name in fields.keys() - taken:
            self.passed[f"members .{ascii(name.rpartition('.')[2])[1:-1][:20]}"] += 1
            if name == "json" and _contradicts(fields[name], label):
                self.passed[CONTRADICTION] += 1

    def _members(self) -> Iterator[tuple[str, bytes]]:
        for name, data in _members(self.path):
            if in_junk(name):
                self.passed["members that nobody made"] += 1
            elif name.startswith("/") or ".." in PurePosixPath(name).parts:
                raise DamagedError(f"{self.path}: member {ascii(name)[1:-1][:100]} leads out of the archive")
            else:
                yield name, data


def _fields(fields: Iterable[str], endings: tuple[str, ...]) -> list[str]:
    """The fields that are one of these endings; where there are none, those whose last part is."""
    exact = [name for name in fields if name in endings]
    return exact or [name for name in fields if name.rpartition(".")[2] in endings]


def _contradicts(data: bytes, label: int) -> bool:
    """Whether a JSON member tells another label than the `.cls` beside it."""
    try:
        document = canonical_json.parse(data, "json")
    except DamagedError:
        return False
    told = (
        [document[name] for name in ("label", "cls", "class", "target") if name in document]
        if type(document) is dict
        else []
    )
    return any(type(value) is int and value != label for value in told)


def _key(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and contents of each regular member, without webdataset's own `__...__` members."""
    with (
        store.as_damage(f"{path}: not a readable uncompressed tar archive", *BROKEN),
        store.reading(path, follow=True) as file,
        tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive,
    ):
        last = -1
        while (member := archive.next()) is not None:
            # A negative size would lead the reader back to where it was.
            if member.size < 0 or member.offset <= last:
                raise DamagedError(f"{path}: a malformed header at byte {member.offset}")
            last = member.offset
            archive.members = []  # type: ignore[attr-defined]  # it would keep every header otherwise
            if member.isdir():
                continue
            data = _contents(archive, member, path)
            if not (member.name.startswith("__") and member.name.endswith("__")):
                yield member.name, data
        _check_end(file, archive.offset, path)


class _Header(tarfile.TarInfo):
    """A header that describes the next one in at most `EXTENDED_BYTES`."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENDED and not 0 <= header.size <= EXTENDED_BYTES:
            raise ValueError(f"an extended header of {header.size} bytes, at most {EXTENDED_BYTES} are read")
        return header


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    place = f"{path}: member {ascii(member.name)[1:-1][:100]}"
    if not member.isreg() or member.issparse():
        raise DamagedError(f"{place} is a link, a device or sparse, which is refused")
    if member.size > IMAGE_FILE_BYTES:
        raise DamagedError(f"{place} has {member.size} bytes, at most {IMAGE_FILE_BYTES} are read")
    file = archive.extractfile(member)
    data = b"" if file is None else file.read()
    if len(data) != member.size:
        raise DamagedError(f"{place} is cut")
    return data


def _check_end(file: BinaryIO, offset: int, path: Path) -> None:
    """Refuse anything but zero blocks after the last member: the reader stops silently at a bad header."""
    size = file.seek(0, os.SEEK_END)
    file.seek(offset)
    parts = iter(lambda: file.read(1 << 20), b"")
    if size - offset < tarfile.BLOCKSIZE or any(part.strip(b"\0") for part in parts):
        raise DamagedError(
            f"{path}: the archive does not end with zero blocks after byte {offset}",
            "It is damaged, cut, or several archives in one file",
        )
