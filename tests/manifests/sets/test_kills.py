"""Killed, stopped or started twice: one whole folder or none, and the same work done again comes to the same.

A child is killed at a call that it makes to the disk, half of what it writes written and half of a folder removed:
between two calls nothing changes that a later run could see. `make soak` draws more of them, from another seed.
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
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

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
FIRST = (1, 3, 4, 5)  # before it has said what was asked for
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
    """Each run gets one call further than the one before, whatever that one left."""
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
    """In a child: do it, and end with the exit code of an error of ours; 9 where a refusal took two seconds."""
    if barrier is not None:
        barrier.wait()
    began = time.monotonic()
    try:
        act(output)
    except MissingError as error:
        os._exit(error.exit_code if time.monotonic() - began < 2 else 9)
    os._exit(0)


def together(count: int, act: Callable[[Path], object], output: Path) -> list[int | None]:
    """The exit codes of so many children that begin at once."""
    barrier = multiprocessing.get_context("fork").Barrier(count)
    children: list[Any] = []

    def start() -> None:
        if len(children) < count:
            with forked(lambda: finished_by(act, output, barrier)) as process:
                children.append(process)
                start()
        else:
            for child in children:
                child.join()

    start()
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
    """Whoever comes when it is finished is content with it."""
    work = every["craft"]
    codes = together(8, work.again, tmp_path / OUT)
    assert codes[0] == 0
    assert set(codes) <= {0, MissingError.exit_code}
    assert left(tmp_path) == {OUT}
    assert work.digest(tmp_path / OUT)


class FinishedMeanwhile(Disk):
    """Another process does all of the work between this one's look at the output and its lock."""

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
    """A folder that an ordinary user may look at and not write, in one that such a user can reach."""
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
    """Its process is sent a signal when the n-th file gets its name."""

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
    """130 for Ctrl-C; of SIGTERM the process dies, which shells call 143."""
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    command = ("craft", "noise", "--base", "digits", "--trials", "0-3", "--poisons", "2", "--quiet", "--json")
    assert run([*command, "-o", str(tmp_path / "whole"), "--name", "set"]) == 0

    def craft() -> None:
        # Where tests run in the background of a script, SIGINT is ignored, and a child inherits that.
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
