"""Disks for tests: one that counts its calls and refuses the k-th, one that kills its process at it, one in a hurry."""

from __future__ import annotations

import errno
import mmap
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from poisonsets.manifests.files import store
from poisonsets.manifests.files.disk import Disk

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


class HastyDisk(Disk):
    """Waits for no medium: what a test does not pull the plug on need not survive it."""

    def fsync(self, descriptor: int) -> None:
        """Nothing."""


class CountingDisk(HastyDisk):
    """Calls `reached` before each call, with its number from 1 on; `written` may write less than it is given.

    A subclass says what happens there. The count is kept in memory that forked children share.
    """

    def __init__(self) -> None:
        self._count = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    @property
    def calls(self) -> int:
        return self._count[0]

    def reset(self) -> None:
        self._count[0] = 0

    def reached(self, number: int) -> None:
        """Called before call `number` is made."""

    def half(self, number: int) -> bool:
        """Whether call `number` shall be half done before `reached` is told."""
        return False

    def _next(self) -> int:
        self._count[0] += 1
        return self._count[0]

    def open(self, path: Path | str, flags: int) -> int:
        self.reached(self._next())
        return super().open(path, flags)

    def write(self, descriptor: int, data: Any) -> int:
        number = self._next()
        if self.half(number):
            super().write(descriptor, memoryview(data)[: len(data) // 2])
        self.reached(number)
        return super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self.reached(self._next())

    def mkdir(self, path: Path) -> None:
        self.reached(self._next())
        super().mkdir(path)

    def rename(self, source: Path, destination: Path) -> None:
        self.reached(self._next())
        super().rename(source, destination)

    def unlink(self, path: Path) -> None:
        self.reached(self._next())
        super().unlink(path)

    def remove_tree(self, path: Path) -> None:
        number = self._next()
        if self.half(number):
            files = sorted(one for one in Path(path).rglob("*") if one.is_file())
            for one in files[: len(files) // 2]:
                one.unlink()
        self.reached(number)
        super().remove_tree(path)


class RefusingDisk(CountingDisk):
    """The call of one number raises the system's error; a write and the removal of a folder are half done by then.

    `reading` tells whether that was the opening of a file to be read.
    """

    def __init__(self, number: int, code: int) -> None:
        super().__init__()
        self._number, self._code = number, code
        self.reading = False

    def half(self, number: int) -> bool:
        return number == self._number

    def reached(self, number: int) -> None:
        if number == self._number:
            raise OSError(self._code, os.strerror(self._code))

    def open(self, path: Path | str, flags: int) -> int:
        refused = self.calls + 1 == self._number
        self.reading |= refused and not flags & os.O_CREAT and not Path(path).is_dir()
        return super().open(path, flags)


class KillingDisk(CountingDisk):
    """The process is killed at the call of one number, a write and the removal of a folder half done."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def half(self, number: int) -> bool:
        return number == self._number

    def reached(self, number: int) -> None:
        if number == self._number:
            os.kill(os.getpid(), signal.SIGKILL)


AnyDisk = TypeVar("AnyDisk", bound=Disk)


@contextmanager
def on(disk: AnyDisk) -> Iterator[AnyDisk]:
    """Everything that is written in the block is written through this disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "disk", disk)
        yield disk
