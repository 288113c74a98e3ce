"""Zip files that hold no more than their bytes can: every member is checked before one is unpacked, none is written.

PyTorch's files and NumPy's `.npz` are zips. Links, folders and paths mean nothing here: a member is a name and bytes.
"""

import io
import struct
import zipfile
import zlib
from typing import Final

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store

MEMBERS: Final = 10_000
MEMBER: Final = b"PK\x01\x02"  # begins the entry of a member in the directory
LOCAL: Final = 30  # bytes before a member's name; the last four are the lengths of the name and of what follows it
# Perturbations of few images among many are mostly zeros; more than this is a bomb, or was better saved as it is.
RATIO: Final = 100
SLACK: Final = 1 << 16
BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(ValueError, KeyError, IndexError, RuntimeError, OverflowError),
)


class Archive:
    """A zip in memory.

    Args:
        data: the whole file.
        where: its name, for errors.
        deflated: whether members may be compressed, by deflate alone.

    Attributes:
        sizes: the bytes of each member, by name.

    Raises:
        DamagedError: it is no zip; a member is encrypted, compressed in another way, occurs twice, or claims more
            bytes than the file can hold; or there are more than `MEMBERS`.
    """

    def __init__(self, data: bytes, where: str, *, deflated: bool = False) -> None:
        self._where = where
        self._data = data
        self._members: dict[str, zipfile.ZipInfo] = {}
        # Each becomes an object of ten times its bytes, all of them before their number is known.
        if data.count(MEMBER) > MEMBERS:
            raise DamagedError(f"{where}: more than {MEMBERS} members in a zip file are not read")
        with store.as_damage(f"{where}: not a readable zip file", *BROKEN):
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            members = self._zip.infolist()
        if sum(member.compress_size for member in members) > len(data):
            raise DamagedError(f"{where}: the members of the zip file claim more bytes than the file has")
        for member in members:
            self._check(member, deflated)
            self._members[member.filename] = member
        self.sizes = {name: member.file_size for name, member in self._members.items()}

    def _check(self, member: zipfile.ZipInfo, deflated: bool) -> None:
        place = f"{self._where}: member {ascii(member.filename)[1:-1][:100]}"
        if member.filename in self._members:
            raise DamagedError(f"{place} occurs twice")
        most = {zipfile.ZIP_STORED: member.compress_size}
        if deflated:
            most[zipfile.ZIP_DEFLATED] = member.compress_size * RATIO + SLACK
        if member.flag_bits & 1 or member.compress_type not in most:
            raise DamagedError(f"{place} is encrypted, or compressed in a way that is not read")
        if member.file_size > most[member.compress_type]:
            raise DamagedError(
                f"{place} claims {member.file_size} bytes in {member.compress_size}",
                f"More than {RATIO} times its stored size is not unpacked: save it uncompressed",
            )

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises DamagedError where there is none of this name, or its bytes do not match its size or checksum.
        """
        if name not in self._members:
            raise DamagedError(f"{self._where}: it has no member {name[:100]}")
        place = f"{self._where}: member {name[:100]}"
        with store.as_damage(f"{place} cannot be read", *BROKEN), self._zip.open(self._members[name]) as file:
            data = file.read(self.sizes[name] + 1)
        if len(data) != self.sizes[name]:
            raise DamagedError(f"{place} is cut")
        return data

    def view(self, name: str) -> memoryview:
        """The bytes of a member that is not compressed, in the memory of the file. Raises as `read`."""
        if name not in self._members:
            raise DamagedError(f"{self._where}: it has no member {name[:100]}")
        member, place = self._members[name], f"{self._where}: member {name[:100]}"
        if member.compress_type != zipfile.ZIP_STORED:
            raise DamagedError(f"{place} is compressed")
        with store.as_damage(f"{place} cannot be read", *BROKEN):
            self._zip.open(member).close()  # which compares what stands before it with the directory
        extra = struct.unpack_from("<HH", self._data, member.header_offset + LOCAL - 4)
        start = member.header_offset + LOCAL + sum(extra)
        found = memoryview(self._data)[start : start + member.file_size]
        if len(found) != member.file_size or zlib.crc32(found) != member.CRC:
            raise DamagedError(f"{place} cannot be read (its bytes do not match its size or checksum)")
        return found
