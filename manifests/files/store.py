"""Files that are whole or absent: temporary name, fsync, rename. Everything the project writes goes through here.

A folder is locked itself, so no lock file is left behind. System calls that write go through `disk`.
"""

import errno
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
from poisonsets.manifests.files.disk import HELD, NO_FOLDER_SYNC, NO_LOCKS, REMEDIES, Disk

TEMPORARY = ".tmp"
PERMISSIONS = "Check permissions and free space"
OTHER_PLACE = "Choose another output"
"""The remedy where the operating system refuses something."""

disk = Disk()


def write_file(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or does not change; missing parent folders are made.

    Raises MissingError where the disk or its permissions refuse.
    """
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BufferedWriter]:
    """Open a new file that takes the place of `path` when the block ends without an error.

    Its name is unique, as several processes may write one path at a time, and ends in `TEMPORARY`, by which `sweep`
    knows what a killed process left behind.

    Raises MissingError where the disk or its permissions refuse, in the block too.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    with refusals(path):
        try:
            make_folder(path.parent)
            with disk.create(temporary) as file:
                yield file
                file.flush()
                disk.fsync(file.fileno())
            disk.rename(temporary, path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                disk.unlink(temporary)
            raise


def sweep(folder: Path, pattern: str = "*") -> None:
    """Remove what killed processes left of files named like `pattern` in and below a folder that the caller has locked.

    Raises MissingError where the disk or its permissions refuse.
    """
    with refusals(folder):
        for leftover in folder.rglob(f"{pattern}{TEMPORARY}"):
            disk.unlink(leftover)


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents.

    Raises MissingError where a file stands in the way, or the disk or its permissions refuse.
    """
    with refusals(path):
        for folder in reversed([one for one in (path, *path.parents) if not one.is_dir()]):
            try:
                disk.mkdir(folder)
            except FileExistsError:  # made meanwhile
                if not folder.is_dir():
                    raise


def remove_file(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file; with `missing_ok` another process may have done so already.

    Raises MissingError where it is not there, or the disk or its permissions refuse.
    """
    with refusals(path), suppress(*((FileNotFoundError,) if missing_ok else ())):
        disk.unlink(path)


def remove_folder(path: Path) -> None:
    """Remove a folder of ours that is no longer needed; what cannot be removed stays."""
    with suppress(OSError):
        disk.remove_tree(path)


@contextmanager
def reading(path: Path, *, follow: bool = False, remedy: str = "") -> Iterator[BinaryIO]:
    """Open a regular file for reading, without waiting for pipes and devices.

    Args:
        follow: read through a link that a user named; nothing that a set contains is followed.
        remedy: what to do about a file that cannot be read.

    Raises:
        MissingError: it is not there or may not be opened.
        DamagedError: it is a link or no regular file.
    """
    descriptor = _open_descriptor(path, follow=follow, remedy=remedy)
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
        DamagedError: as `reading`; or it has more than `limit` bytes, grows, or the disk cannot read it.
    """
    with reading(path, follow=follow, remedy=remedy) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise DamagedError(f"{path}: larger than {limit} bytes", remedy)
        with as_damage(f"{path}: cannot be read", OSError, remedy=remedy):
            data = file.read(size + 1)  # memory is taken for what is there, not for what is allowed
        if len(data) > size:
            raise DamagedError(f"{path}: it grows while it is read", remedy)
        return data


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where its file system can promise that for folders."""
    descriptor = disk.open(folder, os.O_RDONLY)
    try:
        disk.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:  # SMB and FUSE have none, and keep names as they can
            raise
    finally:
        os.close(descriptor)


def move_folder(source: Path, destination: Path) -> None:
    """Give a finished folder its final name in one step; an empty folder of that name is replaced.

    Raises MissingError where the file system refuses; the folder then keeps its old name.
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
    """Lock a folder, or a lock file, which is made; the lock ends with the process, however that ends.

    Raises MissingError where another process still holds it after `patience` seconds, or has just removed it, or it
    cannot be opened.
    """
    # A folder may have gone meanwhile, and must not become a file that nobody removes.
    a_file = path.suffix == ".lock" or path.is_file()
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW if a_file else os.O_RDONLY | os.O_DIRECTORY
    with refusals(path):
        descriptor = disk.open(path, flags)
    try:
        _acquire(descriptor, path, time.monotonic() + patience)
        _refuse_removed(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def refuse_nonempty(folder: Path, remedy: str = "Choose another one or remove it") -> None:
    """Refuse an output folder that holds anything, with this remedy.

    Raises MissingError where it is a file or a link, or a folder with something in it.
    """
    with refusals(folder):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise MissingError(f"{folder}: exists and is not a folder", "Choose another output folder")
        if folder.is_dir() and any(folder.iterdir()):
            raise MissingError(f"{folder}: the output folder is not empty", remedy)


def refuse_existing(path: Path) -> None:
    """Refuse a file that is there already or cannot be made.

    Raises:
        MissingError: as `refuse_unwritable`, or something has this name, be it a link to nothing.
    """
    if path.exists() or path.is_symlink():
        raise MissingError(f"{path}: exists already", "Remove it or choose another name")
    refuse_unwritable(path)


def refuse_unwritable(path: Path) -> None:
    """Refuse a path that cannot be made, as far as can be told without making it, or that would damage a set.

    Raises MissingError where its nearest existing parent is no folder or may not be written, or belongs to a poison
    set, whose files are all listed.
    """
    for parent in path.absolute().parents:
        if (parent / "manifest.json").is_file() and (parent / "poisons").is_dir():
            raise MissingError(f"{path}: inside the poison set {parent}, which it would damage", "Write elsewhere")
    with refusals(path):
        above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise MissingError(f"{above}: a file stands where a folder is needed", OTHER_PLACE)
    if not os.access(above, os.W_OK | os.X_OK):
        raise MissingError(f"{path}: Permission denied in {above}", PERMISSIONS)


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Raise a MissingError, with place, cause and remedy, for what the operating system refuses in the block."""
    try:
        yield
    except (NotADirectoryError, FileExistsError) as error:
        raise MissingError(f"{path}: a file stands where a folder is needed", OTHER_PLACE) from error
    except OSError as error:
        raise MissingError(f"{path}: {reason(error)}", REMEDIES.get(error.errno or 0, PERMISSIONS)) from error


@contextmanager
def as_damage(message: str, *errors: type[BaseException], remedy: str = "") -> Iterator[None]:
    """Raise a DamagedError for what a parser raises in the block: `message` with the reason in brackets."""
    try:
        yield
    except errors as error:
        raise DamagedError(f"{message} ({reason(error)})", remedy) from error


def reason(error: BaseException) -> str:
    """What the system said, in at most 120 characters."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:120]


def _open_descriptor(path: Path, *, follow: bool, remedy: str) -> int:
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
            disk.lock(descriptor)
            return
        except OSError as error:
            if error.errno in NO_LOCKS:
                place = f"{path}: this file system has no locks ({reason(error)})"
                raise MissingError(
                    place, "Mount it with locks, or write to a local disk and copy the result"
                ) from error
            if error.errno not in HELD:
                remedy = REMEDIES.get(error.errno or 0, PERMISSIONS)
                raise MissingError(f"{path}: cannot be locked ({reason(error)})", remedy) from error
            if time.monotonic() >= deadline:
                remedy = "Wait for it or choose another folder"
                raise MissingError(f"{path}: another process is writing here", remedy) from error
            time.sleep(0.05)


def _refuse_removed(descriptor: int, path: Path) -> None:
    """Refuse a folder that its last holder removed after we opened it: a lock on it would keep nobody out."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return
    raise MissingError(f"{path}: another process has just finished here", "Look at what it made")
