"""Files that are whole or absent: temporary name, fsync, rename. Everything the project writes goes through here.

A lock is taken on the folder itself where there is one, so that no lock file can be left behind. What is asked of the
operating system is asked through `disk`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from typing import BinaryIO

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files.disk import Disk

TEMPORARY = ".tmp"

disk = Disk()


def write_file(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or does not change; folders above are made.

    Raises:
        MissingError: the disk or its permissions refuse.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BufferedWriter]:
    """A new file, open for writing, that takes the place of `path` when the block ends without an error.

    Its name is unique (several processes may write one path at a time) and ends in `TEMPORARY`, so that what a
    killed process left can be told from a file and swept away.

    Raises:
        MissingError: the disk or its permissions refuse, in the block too.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        make_folder(path.parent)
        with disk.create(temporary) as file:
            yield file
            file.flush()
            disk.fsync(file.fileno())
        disk.rename(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            disk.unlink(temporary)
        if isinstance(error, OSError):
            raise refused(path, error) from error
        raise


def sweep(folder: Path, pattern: str = "*") -> None:
    """Remove what killed processes left half written in and below a folder; hold its lock.

    Args:
        folder: where.
        pattern: of the names of the files that were being written.

    Raises:
        MissingError: the disk or its permissions refuse.
    """
    with refusals(folder):
        for leftover in folder.rglob(f"{pattern}{TEMPORARY}"):
            disk.unlink(leftover)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are not there.

    Raises:
        MissingError: a file stands in the way, or the disk or its permissions refuse.
    """
    with refusals(path):
        if path.is_dir():
            return
        for one in (*reversed(path.parents), path):
            try:
                if not one.is_dir():
                    disk.mkdir(one)
            except FileExistsError:  # made meanwhile
                if not one.is_dir():
                    raise


def remove_file(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file, which another process may have removed where `missing_ok`.

    Raises:
        MissingError: it is not there, or the disk or its permissions refuse.
    """
    with refusals(path), suppress(*((FileNotFoundError,) if missing_ok else ())):
        disk.unlink(path)


def remove_folder(path: Path) -> None:
    """Remove a folder of ours that nobody needs any more; what cannot be removed stays."""
    with suppress(OSError):
        disk.remove_tree(path)


@contextmanager
def reading(path: Path, *, follow: bool = False, remedy: str = "") -> Iterator[BinaryIO]:
    """A regular file, open for reading; pipes and devices are not waited for.

    Args:
        path: the file.
        follow: read through a link, for what a user names; nothing that a set brings along is followed.
        remedy: what to do about a file that cannot be read.

    Raises:
        MissingError: it is not there or may not be opened.
        DamagedError: it is a link or no regular file.
    """
    descriptor = _opened(path, follow=follow, remedy=remedy)
    try:
        # Before any file object is made: one on a folder refuses with an error of its own.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DamagedError(f"{path}: not a regular file", remedy)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_file(path: Path, limit: int, *, follow: bool = False, remedy: str = "") -> bytes:
    """The bytes of a regular file, opened as by `reading`.

    Raises:
        MissingError: as `reading`.
        DamagedError: likewise, or it has more bytes than the limit, or the disk cannot read it.
    """
    with reading(path, follow=follow, remedy=remedy) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise DamagedError(f"{path}: larger than {limit} bytes", remedy)
        try:
            # Memory is taken for what is there, not for what is allowed.
            data = file.read(size + 1)
        except OSError as error:
            raise DamagedError(f"{path}: cannot be read ({reason(error)})", remedy) from error
        if len(data) > size:
            raise DamagedError(f"{path}: it grows while it is read", remedy)
        return data


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = disk.open(folder, os.O_RDONLY)
    try:
        disk.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_folder(source: Path, destination: Path) -> None:
    """Give a finished folder its final name in one step; an empty folder of that name is replaced.

    Raises:
        MissingError: the file system refuses; the folder has its old name then.
    """
    with refusals(destination):
        disk.rename(source, destination)
        try:
            sync_folder(destination.parent)
        except OSError:
            disk.rename(destination, source)
            raise


@contextmanager
def locked(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold a folder for this process alone, or a lock file, which is made.

    Args:
        path: the folder or lock file; the lock ends with the process, however it ends.
        patience: how many seconds to wait for another holder.

    Raises:
        MissingError: another process holds it, has removed it meanwhile, or it cannot be opened.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with refusals(path):
        descriptor = disk.open(path, flags)
    try:
        _acquire(descriptor, path, time.monotonic() + patience)
        _refuse_removed(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def refuse_nonempty(folder: Path, remedy: str = "Choose another one or remove it") -> None:
    """Refuse an output folder that holds anything.

    Args:
        folder: where something is to be written.
        remedy: what to do about a folder with something in it.

    Raises:
        MissingError: it is a file, or a folder with something in it.
    """
    with refusals(folder):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise MissingError(f"{folder}: exists and is not a folder", "Choose another output folder")
        if folder.is_dir() and any(folder.iterdir()):
            raise MissingError(f"{folder}: the output folder is not empty", remedy)


def refuse_unwritable(path: Path) -> None:
    """Refuse a path that cannot be made, as far as can be told without making it, or that would damage a set.

    Raises:
        MissingError: the nearest thing above it that exists is no folder, or may not be written; or it lies inside a
            poison set, whose files are all accounted for.
    """
    for parent in path.absolute().parents:
        if (parent / "manifest.json").is_file() and (parent / "poisons").is_dir():
            raise MissingError(f"{path}: inside the poison set {parent}, which it would damage", "Write elsewhere")
    with refusals(path):
        above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise MissingError(f"{above}: a file stands where a folder is needed", "Choose another output")
    if not os.access(above, os.W_OK | os.X_OK):
        raise MissingError(f"{path}: Permission denied in {above}", "Check permissions and free space")


def refused(path: Path, error: OSError) -> MissingError:
    """An operating system's refusal as an error with a place and a cause."""
    if isinstance(error, NotADirectoryError | FileExistsError):
        return MissingError(f"{path}: a file stands where a folder is needed", "Choose another output")
    return MissingError(f"{path}: {reason(error)}", "Check permissions and free space")


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Make what the operating system refuses in the block an error with a place and a cause.

    Raises:
        MissingError: it refuses.
    """
    try:
        yield
    except OSError as error:
        raise refused(path, error) from error


def reason(error: BaseException) -> str:
    """What the system said, in a few words."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:120]


def _opened(path: Path, *, follow: bool, remedy: str) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        return disk.open(path, flags)
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file", remedy) from error
    except (OSError, ValueError) as error:
        if not follow and getattr(error, "errno", None) == errno.ELOOP:
            raise DamagedError(f"{path}: a link; only regular files are read", remedy) from error
        raise MissingError(f"{path}: cannot be opened ({reason(error)})", remedy or "Check permissions") from error


def _acquire(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if time.monotonic() >= deadline:
                raise MissingError(
                    f"{path}: another process is writing here", "Wait for it or choose another folder"
                ) from error
            time.sleep(0.05)


def _refuse_removed(descriptor: int, path: Path) -> None:
    """A lock on a folder that its last holder has removed since it was opened would keep nobody out."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return
    raise MissingError(f"{path}: another process has just finished here", "Look at what it made")
