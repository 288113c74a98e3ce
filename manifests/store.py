"""Files that are whole or absent: temporary name, fsync, rename. Everything the project writes goes through here.

A lock is taken on the folder itself where there is one, so that no lock file can be left behind.
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

from poisonsets.manifests.errors import DamagedError, MissingError

TEMPORARY = ".tmp"
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


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
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb", opener=_new) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
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
    try:
        for leftover in folder.rglob(f"{pattern}{TEMPORARY}"):
            leftover.unlink()
    except OSError as error:
        raise refused(folder, error) from error


def read_file(path: Path, limit: int, *, follow: bool = False, remedy: str = "") -> bytes:
    """The bytes of a regular file; pipes and devices are not waited for.

    Args:
        path: the file.
        limit: the most bytes it may have.
        follow: read through a link, for what a user names; nothing that a set brings along is followed.
        remedy: what to do about a file that cannot be read.

    Raises:
        MissingError: it is not there or may not be opened.
        DamagedError: it is a link, no regular file, larger than the limit, or the disk cannot read it.
    """
    descriptor = _opened(path, follow=follow, remedy=remedy)
    try:
        # Before any file object is made: one on a folder refuses with an error of its own.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(f"{path}: not a regular file", remedy)
        if status.st_size <= limit:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                # Memory is taken for what is there, not for what is allowed.
                data = file.read(status.st_size + 1)
            if len(data) <= status.st_size:
                return data
            raise DamagedError(f"{path}: it grows while it is read", remedy)
        raise DamagedError(f"{path}: larger than {limit} bytes", remedy)
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({reason(error)})", remedy) from error
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_folder(source: Path, destination: Path) -> None:
    """Give a finished folder its final name in one step; an empty folder of that name is replaced.

    Raises:
        MissingError: the file system refuses; the folder has its old name then.
    """
    try:
        source.rename(destination)
        try:
            sync_folder(destination.parent)
        except OSError:
            destination.rename(source)
            raise
    except OSError as error:
        raise refused(destination, error) from error


@contextmanager
def locked(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold a folder for this process alone, or a lock file, which is made.

    Args:
        path: the folder or lock file; the lock ends with the process, however it ends.
        patience: how many seconds to wait for another holder.

    Raises:
        MissingError: another process holds it, or it cannot be opened.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise refused(path, error) from error
    try:
        _acquire(descriptor, path, time.monotonic() + patience)
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
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise MissingError(f"{folder}: exists and is not a folder", "Choose another output folder")
        if folder.is_dir() and any(folder.iterdir()):
            raise MissingError(f"{folder}: the output folder is not empty", remedy)
    except OSError as error:
        raise refused(folder, error) from error


def refuse_unwritable(path: Path) -> None:
    """Refuse a path that cannot be made, as far as can be told without making it, or that would damage a set.

    Raises:
        MissingError: the nearest thing above it that exists is no folder, or may not be written; or it lies inside a
            poison set, whose files are all accounted for.
    """
    for parent in path.absolute().parents:
        if (parent / "manifest.json").is_file() and (parent / "poisons").is_dir():
            raise MissingError(f"{path}: inside the poison set {parent}, which it would damage", "Write elsewhere")
    try:
        above = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:
        raise refused(path, error) from error
    if not above.is_dir():
        raise MissingError(f"{above}: a file stands where a folder is needed", "Choose another output")
    if not os.access(above, os.W_OK | os.X_OK):
        raise MissingError(f"{path}: Permission denied in {above}", "Check permissions and free space")


def refused(path: Path, error: OSError) -> MissingError:
    """An operating system's refusal as an error with a place and a cause."""
    if isinstance(error, NotADirectoryError | FileExistsError):
        return MissingError(f"{path}: a file stands where a folder is needed", "Choose another output")
    return MissingError(f"{path}: {reason(error)}", "Check permissions and free space")


def reason(error: BaseException) -> str:
    """What the system said, in a few words."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:120]


def _new(path: str, _flags: int) -> int:
    return os.open(path, NEW_FILE, 0o644)


def _opened(path: Path, *, follow: bool, remedy: str) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        return os.open(path, flags)
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
