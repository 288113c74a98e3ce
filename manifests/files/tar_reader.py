"""Plain WebDataset shards read by our own bounded tar reader: samples of image and label, nothing executed."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.images import IMAGE_FILE_BYTES, SUFFIXES
from poisonsets.manifests.limits import CLASSES

# Headers that say more of the next one; the standard library reads and parses them whole.
EXTENDED: Final = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


EXTENDED_BYTES: Final = 1 << 16


IMAGE_FIELDS: Final = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)


BROKEN = (
    tarfile.TarError,
    OSError,
    ValueError,
    EOFError,
    RecursionError,
    IndexError,
    KeyError,
    OverflowError,
)


def training_shards(source: Path) -> tuple[Path, ...]:
    """The shards of a folder's training split: `train-*.tar`, or all `*.tar` where there is no `test-*.tar` either.

    Raises:
        MissingError: there are none.
    """
    found = _shards(source, "train-*.tar")
    if not found and not has_test(source):
        found = _shards(source, "*.tar")
    if not found:
        raise MissingError(f"{source}: no training shards (train-*.tar, or *.tar where there is no test-*.tar)")
    return found


def has_test(source: Path) -> bool:
    """Whether there are shards `test-*.tar`."""
    return bool(_shards(source, "test-*.tar"))


def _shards(source: Path, pattern: str) -> tuple[Path, ...]:
    return tuple(sorted(path for path in source.glob(pattern) if path.is_file()))


def samples(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """Key, image file and label of each sample of one shard, in its order; samples without an image are passed over.

    Raises:
        DamagedError: the archive or a sample is not what this module's promise says.
    """
    seen: set[str] = set()
    key = ""
    fields: dict[str, bytes] = {}
    for name, data in _members(path):
        folder, slash, last = name.rpartition("/")
        stem, _, extension = last.partition(".")
        if folder + slash + stem != key:
            if _image(fields):
                yield _sample(path, key, fields)
            key, fields = folder + slash + stem, {}
            if key in seen:
                raise DamagedError(f"{path}: the members of sample {key!a} are not adjacent, or it stands twice")
            seen.add(key)
        extension = extension.lower()
        if extension in fields:
            raise DamagedError(f"{path}: sample {key!a} has two members .{ascii(extension)[1:-1]}")
        fields[extension] = data
    if _image(fields):
        yield _sample(path, key, fields)


def _image(fields: dict[str, bytes]) -> bool:
    return any(name in fields for name in IMAGE_FIELDS)


def _sample(path: Path, key: str, fields: dict[str, bytes]) -> tuple[str, bytes, int]:
    images = [fields[name] for name in IMAGE_FIELDS if name in fields]
    label = re.fullmatch(rb"\s*([0-9]{1,9})\s*", fields.get("cls", b""))
    if len(images) != 1 or label is None:
        raise DamagedError(f"{path}: sample {key!a} has not one image (png, jpg, jpeg) and one integer label (cls)")
    if int(label[1]) >= CLASSES:
        raise DamagedError(f"{path}: sample {key!a} has label {int(label[1])}, at most {CLASSES - 1} is read")
    return key, images[0], int(label[1])


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and contents of each regular member; webdataset's own `__...__` members are passed over."""
    try:
        with (
            store.reading(path, follow=True) as file,
            tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive,
        ):
            last = -1
            while (member := archive.next()) is not None:
                # A negative size would lead the reader back to where it was.
                if member.size < 0 or member.offset <= last:
                    raise DamagedError(f"{path}: a malformed header at byte {member.offset}")
                last = member.offset
                if member.isdir():
                    continue
                yield from _contents(archive, member, path)
                # The archive would keep every header otherwise.
                archive.members = []  # type: ignore[attr-defined]
            _check_end(file, archive.offset, path)
    except BROKEN as error:
        raise DamagedError(f"{path}: not a readable uncompressed tar archive ({store.reason(error)})") from error


class _Header(tarfile.TarInfo):
    """A header that says no more of the next one than `EXTENDED_BYTES`."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENDED and not 0 <= header.size <= EXTENDED_BYTES:
            raise ValueError(f"an extended header of {header.size} bytes, at most {EXTENDED_BYTES} are read")
        return header


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Iterator[tuple[str, bytes]]:
    name = ascii(member.name)[1:-1][:100]
    if not member.isreg() or member.issparse():
        raise DamagedError(f"{path}: member {name} is a link, a device or sparse, which is refused")
    if member.size > IMAGE_FILE_BYTES:
        raise DamagedError(f"{path}: member {name} has {member.size} bytes, at most {IMAGE_FILE_BYTES} are read")
    file = archive.extractfile(member)
    data = b"" if file is None else file.read()
    if len(data) != member.size:
        raise DamagedError(f"{path}: member {name} is cut")
    if not (member.name.startswith("__") and member.name.endswith("__")):
        yield member.name, data


def _check_end(file: BinaryIO, offset: int, path: Path) -> None:
    """The reader stops silently at a bad header; what it left must be the zero blocks that end an archive."""
    file.seek(offset)
    rest = file.read(1 << 20)
    complete = len(rest) >= tarfile.BLOCKSIZE
    while rest:
        if rest.strip(b"\0"):
            complete = False
            break
        rest = file.read(1 << 20)
    if not complete:
        raise DamagedError(
            f"{path}: the archive does not end with zero blocks after byte {offset}",
            "It is damaged, cut, or several archives in one file",
        )
