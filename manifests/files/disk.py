"""The system calls that writing consists of, in one place, so that a test can make each one fail.

`store.disk` is the one in use. Tests put a subclass there whose k-th call raises, or kills the process, for every k.
"""

import errno
import fcntl
import os
import shutil
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Any

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

REMEDIES = {
    errno.ENOSPC: "Choose an output on another disk, or free space there",
    errno.EDQUOT: "Choose an output on another disk, or free some of your quota",
    errno.EROFS: "Choose an output on a disk that can be written",
    errno.ESTALE: "Mount the network disk again, or choose a local output",
    errno.EIO: "Check the disk and its connection, or choose an output on another disk",
}
"""What to do where permissions are not the cause."""
HELD = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES})
# NFS locks by byte ranges of files open for writing, which a folder (EBADF) cannot be.
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF})
NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
"""What a lock that another holds, and file systems without locks or fsync of folders, are told by."""


class Disk:
    """The calls as they are; each raises OSError where the system refuses."""

    def open(self, path: Path | str, flags: int) -> int:
        """A descriptor; a file that this creates can be read by all and written by its owner."""
        return os.open(path, flags | os.O_CLOEXEC, 0o644)

    def create(self, path: Path) -> BufferedWriter:
        """A new file, open for writing; an existing file or link is not touched."""
        return BufferedWriter(_NewFile(path, self))

    def write(self, descriptor: int, data: Any) -> int:
        """Write the first bytes of `data`, and return how many."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Return once a file's bytes, or a folder's names, would survive a power cut."""
        os.fsync(descriptor)

    def lock(self, descriptor: int) -> None:
        """Lock a file or folder for this process alone; raises at once where another holds it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def mkdir(self, path: Path) -> None:
        """Make one folder."""
        os.mkdir(path)  # noqa: PTH102

    def rename(self, source: Path, destination: Path) -> None:
        """Rename a file or folder in one step; a file or an empty folder in the way is replaced."""
        os.replace(source, destination)  # noqa: PTH105

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)  # noqa: PTH108

    def remove_tree(self, path: Path) -> None:
        """Remove a folder and all in it; links are removed, not followed."""
        shutil.rmtree(path)


class _NewFile(FileIO):
    """A file that a `Disk` creates and writes."""

    def __init__(self, path: Path, disk: Disk) -> None:
        super().__init__(path, "xb", opener=lambda name, _flags: disk.open(name, NEW_FILE))
        self._disk = disk

    def write(self, data: Any, /) -> int:
        return self._disk.write(self.fileno(), data)
