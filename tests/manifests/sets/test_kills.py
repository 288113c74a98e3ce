"""Work that is killed, stopped or started twice leaves one whole folder or none, and the same when done again.

A child is killed in the middle of a disk call, with half a file written or half a folder removed; between two calls
nothing changes that a later run could see. `make soak` draws more calls from another seed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from faulty import CountingDisk, HastyDisk, KillingDisk, on
from forked import forked
from works import OUT, Work, known_versions, left, works

from poisonsets.cli.main import run
from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.disk import Disk
from poisonsets.manifests.sets.reader import open_set

LOG = logging.getLogger(__name__)
SEED, KILLS, ROUNDS = 4, 10, 2
FIRST = (1, 3, 4, 5)  # before the request is written
NAMES = ("craft", "import", "export")
NOBODY = 65534


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Work]]:
    with known_versions():
        yield {one.name: one for one in works(tmp_path_factory.mktemp("works"))}


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_moment_and_done_again(tmp_path: Path, every: dict[str, Work], name: str) -> None:
    work = every[name]
    with on(CountingDisk()) as disk:
        work.start(tmp_path / OUT)
    digest, draw, calls = work.digest(tmp_path / OUT), random.Random(f"{SEED} {name}"), range(1, disk.calls + 1)
    numbers = [*FIRST, *draw.sample(calls, min(KILLS, len(calls)))]
    LOG.warning("seed %s, %s: killed at %s of %d calls", SEED, name, numbers, len(calls))
    finished = 0
    for number in numbers:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        with on(KillingDisk(number)), forked(lambda folder=folder: work.start(folder / OUT)) as process:
            process.join()
        assert process.exitcode == -signal.SIGKILL
        if (folder / OUT).exists():
            finished += 1
        else:
            with on(HastyDisk()):
                work.again(folder / OUT)
            assert left(folder) == {OUT}, f"call {number}"
        assert work.digest(folder / OUT) == digest, f"call {number}"
        assert not list((folder / OUT).rglob(f"*{store.TEMPORARY}"))
        shutil.rmtree(folder)
    assert finished < len(numbers)


@pytest.mark.parametrize("name", NAMES)
def test_killed_again_and_again(tmp_path: Path, every: dict[str, Work], name: str) -> None:
    """Each run gets seven calls further than the one before, whatever that one left."""
    work = every[name]
    with on(HastyDisk()):
        work.start(tmp_path / "whole")
    digest, number = work.digest(tmp_path / "whole"), 0
    while not (tmp_path / OUT).exists():
        number += 7
        with on(KillingDisk(number)), forked(lambda: work.again(tmp_path / OUT)) as process:
            process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
    assert work.digest(tmp_path / OUT) == digest


def finished_by(act: Callable[[Path], object], output: Path, barrier: Barrier | None = None) -> None:
    """In a child: act, and exit with the code of our error; with 9 where a refusal took two seconds."""
    if barrier is not None:
        barrier.wait()
    began = time.monotonic()
    try:
        act(output)
    except MissingError as error:
        os._exit(error.exit_code if time.monotonic() - began < 2 else 9)
    os._exit(0)


def together(count: int, act: Callable[[Path], object], output: Path) -> list[int | None]:
    """The exit codes of `count` children that start at the same time."""
    barrier = multiprocessing.get_context("fork").Barrier(count)
    with ExitStack() as running:
        children = [running.enter_context(forked(lambda: finished_by(act, output, barrier))) for _ in range(count)]
        for child in children:
            child.join()
    return sorted(child.exitcode for child in children)


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("name", NAMES)
def test_of_several_writers_one_wins(tmp_path: Path, every: dict[str, Work], name: str, count: int) -> None:
    work = every[name]
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert together(count, work.start, folder / OUT) == [0] + [MissingError.exit_code] * (count - 1)
        assert left(folder) == {OUT}
    digests = {work.digest(tmp_path / str(number) / OUT) for number in range(ROUNDS)}
    assert len(digests) == 1


def test_several_that_resume_leave_one_whole_set(tmp_path: Path, every: dict[str, Work]) -> None:
    """A process that finds the set finished accepts it."""
    work = every["craft"]
    codes = together(8, work.again, tmp_path / OUT)
    assert codes[0] == 0
    assert set(codes) <= {0, MissingError.exit_code}
    assert left(tmp_path) == {OUT}
    assert work.digest(tmp_path / OUT)


class FinishedMeanwhile(Disk):
    """Another process does all of the work after this one has looked at the output and before it has the lock."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._busy = False

    def open(self, path: Path | str, flags: int) -> int:
        if not self._busy and Path(path).suffix == ".partial":
            self._busy = True
            self._work()
        return super().open(path, flags)


@pytest.mark.parametrize("name", ["craft", "import"])
def test_a_set_that_was_finished_before_the_lock_is_left_alone(
    tmp_path: Path, every: dict[str, Work], name: str
) -> None:
    work = every[name]

    def other() -> None:
        with forked(lambda: work.start(tmp_path / OUT)) as process:
            process.join()

    with on(FinishedMeanwhile(other)), pytest.raises(MissingError):
        work.start(tmp_path / OUT)
    assert left(tmp_path) == {OUT}


def test_a_lock_on_a_folder_that_is_gone_keeps_nobody_out_and_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    class Removed(Disk):
        def open(self, path: Path | str, flags: int) -> int:
            descriptor = super().open(path, flags)
            folder.rmdir()
            return descriptor

    with on(Removed()), pytest.raises(MissingError, match="finished here"), store.locked(folder):
        pytest.fail("it is held")


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that an ordinary user may read but not write, inside one that such a user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="poisonsets-test-"))
    (folder / "locked").mkdir()
    folder.chmod(0o755)
    (folder / "locked").chmod(0o555)
    yield folder / "locked"
    shutil.rmtree(folder)


def as_nobody(act: Callable[[Path], object], output: Path) -> None:
    """In a child: as a user to whom permissions apply."""
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    finished_by(act, output)


@pytest.mark.parametrize("name", ["craft"])
def test_a_read_only_folder_is_refused_before_anything_is_done(
    read_only: Path, every: dict[str, Work], name: str
) -> None:
    with forked(lambda: as_nobody(every[name].start, read_only / OUT)) as process:
        process.join()
    assert process.exitcode == MissingError.exit_code
    assert left(read_only) == set()


class SignalledDisk(HastyDisk):
    """Sends its process a signal when the n-th file is renamed."""

    def __init__(self, number: int, sent: int) -> None:
        self._left, self._sent = number, sent

    def rename(self, source: Path, destination: Path) -> None:
        super().rename(source, destination)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._sent)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_craft_that_is_told_to_stop_can_be_resumed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, code: int
) -> None:
    """Ctrl-C exits with 130; SIGTERM kills the process, which shells report as 143."""
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    command = ("craft", "noise", "--base", "digits", "--trials", "0-3", "--poisons", "2", "--quiet", "--json")
    assert run([*command, "-o", str(tmp_path / "whole"), "--name", "set"]) == 0

    def craft() -> None:
        # Tests that run in the background of a script inherit an ignored SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os._exit(run([*command, "-o", str(tmp_path / OUT), "--name", "set"]))

    with on(SignalledDisk(4, sent)), forked(craft) as process:
        process.join()
    assert process.exitcode == code
    assert left(tmp_path) == {"whole", f"{OUT}.partial"}
    assert run([*command, "-o", str(tmp_path / OUT), "--name", "set", "--resume"]) == 0
    assert left(tmp_path) == {"whole", OUT}
    digests = {open_set(tmp_path / name).manifest.content_digest for name in ("whole", OUT)}
    assert len(digests) == 1
