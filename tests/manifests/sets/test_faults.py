"""Whichever disk call of a craft, an import or an export fails: an error with a place, and no half-written output.

Each call fails in turn, with each error; the same work, done again, then gives the same set.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import ERRORS, CountingDisk, HastyDisk, RefusingDisk, on
from works import OUT, Work, known_versions, left, works

from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError
from poisonsets.manifests.files import store


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Work]]:
    with known_versions():
        yield {one.name: one for one in works(tmp_path_factory.mktemp("works"))}


def whole_or_absent(work: Work, folder: Path, digest: str) -> bool:
    """Whether the finished folder exists; if so, it must be whole."""
    if (folder / OUT).exists():
        assert work.digest(folder / OUT) == digest
        return True
    return False


def refusal(work: Work, output: Path) -> PoisonsetsError | None:
    """The error of the work on a failing disk; None where it does without the refused call."""
    try:
        work.start(output)
    except (MissingError, DamagedError) as error:
        return error
    return None


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["craft", "import", "export"])
def test_any_call_may_be_refused(tmp_path: Path, every: dict[str, Work], name: str, code: int) -> None:
    work = every[name]
    with on(CountingDisk()) as disk:
        work.start(tmp_path / OUT)
    calls, digest = disk.calls, work.digest(tmp_path / OUT)
    assert calls > 20
    refusals = 0
    for number in range(1, calls + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        with on(RefusingDisk(number, code)) as disk:
            error = refusal(work, folder / OUT)
        assert disk.calls >= number
        refusals += error is not None
        # A refused read may be reported as damage; a refused write is the disk's.
        if error is not None and not disk.reading:
            assert isinstance(error, MissingError), f"call {number}: {error}"
            assert os.strerror(code) in str(error), f"call {number}: {error}"
        assert not list(folder.rglob(f"*{store.TEMPORARY}")), f"call {number}"
        if not whole_or_absent(work, folder, digest):
            with on(HastyDisk()):
                work.again(folder / OUT)
            assert left(folder) == {OUT}, f"call {number}"
        assert work.digest(folder / OUT) == digest, f"call {number}"
        shutil.rmtree(folder)
    assert refusals > calls / 2


def test_a_write_that_is_half_done_is_no_file(tmp_path: Path) -> None:
    """The refusals above do leave half a file where the store does not clean up."""
    with on(RefusingDisk(2, errno.ENOSPC)) as disk:
        path = tmp_path / "file"
        descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space left"):
            disk.write(descriptor, b"1234")
        os.close(descriptor)
    assert path.read_bytes() == b"12"
