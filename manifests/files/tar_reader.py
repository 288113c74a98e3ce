"""Samples of image and label from plain WebDataset shards, by a bounded tar reader of our own; nothing is executed."""

import os
import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final, Self

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.images import IMAGE_FILE_BYTES, SUFFIXES
from poisonsets.manifests.limits import CLASSES

# Headers that describe the next one; the standard library reads and parses them whole.
EXTENDED: Final = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
EXTENDED_BYTES: Final = 1 << 16
IMAGE_FIELDS: Final = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)
BROKEN: Final = (
    *(tarfile.TarError, OSError, EOFError, RecursionError),
    *(ValueError, IndexError, KeyError, OverflowError),
)


def training_shards(source: Path) -> tuple[Path, ...]:
    """The shards of a folder's training split: `train-*.tar`, or all `*.tar` where there is no `test-*.tar` either.

    Raises MissingError where there are none.
    """
    found = _shards(source, "train-*.tar") or (() if test_shards(source) else _shards(source, "*.tar"))
    if not found:
        raise MissingError(f"{source}: no training shards (train-*.tar, or *.tar where there is no test-*.tar)")
    return found


def test_shards(source: Path) -> tuple[Path, ...]:
    """The shards of a folder's test split: `test-*.tar`."""
    return _shards(source, "test-*.tar")


def _shards(source: Path, pattern: str) -> tuple[Path, ...]:
    return tuple(sorted(path for path in source.glob(pattern) if path.is_file()))


def samples(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """Key, image file and label of each sample of a shard, in its order; samples without an image are skipped.

    Raises DamagedError where the archive is broken or holds anything but regular files, the members of a sample are not
    adjacent, or a sample has two images or no label.
    """
    seen: set[str] = set()
    for key, members in groupby(_members(path), key=lambda member: _key(member[0])):
        if key in seen:
            raise DamagedError(f"{path}: sample {key!a} occurs twice, or its members are not adjacent")
        seen.add(key)
        fields: dict[str, bytes] = {}
        for name, data in members:
            extension = name[len(key) + 1 :].lower()
            if extension in fields:
                raise DamagedError(f"{path}: sample {key!a} has two members .{ascii(extension)[1:-1]}")
            fields[extension] = data
        images = [fields[name] for name in IMAGE_FIELDS if name in fields]
        if not images:
            continue
        label = re.fullmatch(rb"\s*([0-9]{1,9})\s*", fields.get("cls", b""))
        if len(images) > 1 or label is None:
            raise DamagedError(f"{path}: sample {key!a} lacks its one image (png, jpg, jpeg) or integer label (cls)")
        if int(label[1]) >= CLASSES:
            raise DamagedError(f"{path}: sample {key!a} has label {int(label[1])}, at most {CLASSES - 1} is read")
        yield key, images[0], int(label[1])


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
