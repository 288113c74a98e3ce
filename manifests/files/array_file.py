"""Named arrays and a record of what they are, in one safetensors file: whole or absent, checked whenever it is read.

The file's metadata has one key, `poisonsets`: the record as canonical JSON, with the digest of the arrays and a
checksum of all the rest of it. Equal arrays and records give equal bytes, and every safetensors library reads them.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.files.safetensors_header import (
    DIGEST_BEGINS,
    HEADER_BYTES,
    Arrays,
    ArraySpec,
    arrays_digest,
    digest_line,
    header_bytes,
    layout,
    little_endian,
    read_header,
)

Record: TypeAlias = dict[str, Any]
"""A JSON object without the keys `digest` and `checksum`, which a file adds."""

METADATA_KEY: Final = "poisonsets"


@dataclass(frozen=True)
class ArrayFile:
    """What a file holds; the memory of the arrays is their own."""

    record: Record
    digest: str
    arrays: Arrays


def write(path: Path, record: Record, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write arrays to `path`, whole or not at all; their digest.

    Args:
        path: the file; another one there is replaced, folders above are made.
        record: what they are.
        arrays: of `DTYPES`, by names that `NAME` matches.

    Raises:
        MissingError: the folder or the disk refuses it.
    """
    digest, specs = arrays_digest(arrays), {name: ArraySpec.of(array) for name, array in arrays.items()}
    with store.replacing(path) as file:
        file.write(_beginning(record, digest, specs))
        for name in layout(specs):
            file.write(little_endian(arrays[name]))
    return digest


def write_parts(path: Path, record: Record, name: str, spec: ArraySpec, parts: Iterable[NDArray[Any]]) -> None:
    """Write the file that `write` would of one array, which comes in parts of its first axis.

    Args:
        path, record: as for `write`.
        name, spec: of the array.
        parts: asked for one after the other, each written before the next.

    Raises:
        MissingError: as `write`.
    """
    digest = hashlib.sha256(DIGEST_BEGINS + digest_line(name, spec))
    with store.replacing(path) as file:
        file.write(_beginning(record, digest.hexdigest(), {name: spec}))
        for part in parts:
            values = little_endian(part)
            digest.update(values)
            file.write(values)
        file.seek(0)  # once more, with the digest that is known now and as long as any other
        file.write(_beginning(record, digest.hexdigest(), {name: spec}))


def read(
    path: Path,
    specs_of: Callable[[Record], Mapping[str, ArraySpec] | None],
    *,
    limit: int,
    remedy: str,
    header_limit: int = HEADER_BYTES,
) -> ArrayFile:
    """What a file holds, after all it claims was checked.

    Args:
        path: the file.
        specs_of: from the record to the arrays that there must be, None for any; asked before an array is read. It
            may refuse the record by a DamagedError.
        limit: the most bytes the file may have.
        remedy: what to do about a file that is something else.
        header_limit: the most bytes that its header may have.

    Raises:
        MissingError: there is no such file, or it cannot be opened.
        DamagedError: it is a link or no regular file, larger than the limit, or not what `write` wrote.
    """
    with store.reading(path, remedy=remedy) as file:

        def bytes_at(start: int, count: int) -> bytearray:
            return _bytes_at(file, start, count, path)

        try:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DamagedError(f"{path}: larger than {limit} bytes")
            header = read_header(bytes_at, size, str(path), limit=header_limit)
            record, digest = _record(header.metadata, path)
            if (wanted := specs_of(record)) is not None:
                _refuse_other(header.specs, wanted, path)
            arrays = header.values(bytes_at)
            if (found := arrays_digest(arrays)) != digest:
                raise DamagedError(f"{path}: its tensors have digest {found[:12]}, its record says {digest[:12]}")
        except DamagedError as error:
            raise DamagedError(error.message, error.remedy or remedy) from error
    return ArrayFile(record, digest, arrays)


def read_record(path: Path, *, limit: int, remedy: str) -> tuple[Record, str]:
    """The record of a file and the digest of its arrays, which are not read: whether they have it is not known.

    Args, raises: as `read`.
    """
    with store.reading(path, remedy=remedy) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise DamagedError(f"{path}: larger than {limit} bytes", remedy)
        try:
            header = read_header(lambda start, count: _bytes_at(file, start, count, path), size, str(path))
            return _record(header.metadata, path)
        except DamagedError as error:
            raise DamagedError(error.message, error.remedy or remedy) from error


def read_one(path: Path, record: Record, name: str, spec: ArraySpec, *, remedy: str) -> NDArray[Any]:
    """The array of a file that holds one.

    Args:
        path: the file.
        record, name, spec: what it was written with.
        remedy: as for `read`.

    Raises:
        MissingError, DamagedError: as `read`.
    """

    def specs_of(found: Record) -> dict[str, ArraySpec]:
        if found != record:
            raise DamagedError(f"{path}: its record is not the one that was written")
        return {name: spec}

    return read(path, specs_of, limit=spec.size + HEADER_BYTES + 8, remedy=remedy).arrays[name]


def _beginning(record: Record, digest: str, specs: Mapping[str, ArraySpec]) -> bytes:
    sealed = canonical_json.checksummed(record | {"digest": digest})
    return header_bytes(specs, {METADATA_KEY: sealed.decode("ascii")})


def _record(metadata: Any, path: Path) -> tuple[Record, str]:
    """The record, and the digest of the arrays."""
    try:
        record = canonical_json.loads(metadata[METADATA_KEY].encode("ascii"), "metadata")
        if record["checksum"] != canonical_json.checksum(record) or type(record["digest"]) is not str:
            raise ValueError("its checksum is not that of its contents")
        del record["checksum"]
        return record, record.pop("digest")
    except (DamagedError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path}: it has no record of poisonsets ({str(error)[:100]})") from error


def _refuse_other(found: Mapping[str, ArraySpec], wanted: Mapping[str, ArraySpec], path: Path) -> None:
    for name in sorted({**found, **wanted}):
        if found.get(name) != wanted.get(name):
            raise DamagedError(f"{path}: tensor {name[:80]} is {found.get(name)}, wanted {wanted.get(name)}")


def _bytes_at(file: BinaryIO, start: int, count: int, path: Path) -> bytearray:
    found = bytearray(count)
    try:
        file.seek(start)
        whole = file.readinto(found) == count  # type: ignore[attr-defined]
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({store.reason(error)})") from error
    if not whole:
        raise DamagedError(f"{path}: it shrinks while it is read")
    return found
