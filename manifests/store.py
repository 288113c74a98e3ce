"""Files that are whole or absent: temporary name, fsync, rename. Everything the project writes goes through here.

A lock is taken on the folder itself, so that no lock file can be left behind.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from poisonsets.manifests.errors import DamagedError, MissingError

TEMPORARY = ".tmp"


def write_file(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or does not change; folders above are made.

    Raises:
        MissingError: the disk or its permissions refuse.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise refused(path, error) from error


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a plain file; links, pipes and devices are not followed, opened or waited for.

    Args:
        path: the file.
        limit: the most bytes it may have.

    Raises:
        MissingError: it is not there or may not be read.
        DamagedError: it is not a plain file or is larger than the limit.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file") from error
    except OSError as error:
        if path.is_symlink():
            raise DamagedError(f"{path}: a link; only plain files are read") from error
        raise refused(path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(f"{path}: not a plain file")
        if status.st_size > limit:
            raise DamagedError(f"{path}: {status.st_size} bytes, the limit is {limit}")
        return file.read(limit + 1)[: limit + 1]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_folder(source: Path, destination: Path) -> None:
    """Give a finished folder its final name in one step; an empty folder of that name is replaced.

    Raises:
        MissingError: the file system refuses.
    """
    try:
        source.rename(destination)
        sync_folder(destination.parent)
    except OSError as error:
        raise refused(destination, error) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone.

    Raises:
        MissingError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MissingError(
                f"{folder}: another process is writing here", "Wait for it or choose another folder"
            ) from error
        yield
    finally:
        os.close(descriptor)


def refuse_nonempty(folder: Path) -> None:
    """Refuse an output folder that holds anything.

    Raises:
        MissingError: it is a file, or a folder with something in it.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise MissingError(f"{folder}: exists and is not a folder", "Choose another output folder")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise MissingError(f"{folder}: the output folder is not empty", "Choose another one or remove it")
    except PermissionError as error:
        raise refused(folder, error) from error


def refused(path: Path, error: OSError) -> MissingError:
    """An operating system's refusal as an error with a place and a cause."""
    return MissingError(f"{path}: {error.strerror or error}", "Check permissions and free space")
