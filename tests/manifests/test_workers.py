"""Work is done in the order it is given, here or in other processes, and told of while it is under way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.workers import Progress, run_all, silent


class Doubler:
    """Doubles a number in four steps; with a folder it waits between them until somebody has seen how far it is."""

    def __init__(self, folder: Path | None = None, worker: int = 0) -> None:
        self._folder = folder

    def run(self, item: int, progress: Progress) -> int:
        for step in range(4):
            progress(step, 4)
            while self._folder and step == 1 and not (self._folder / "seen").exists():
                time.sleep(0.01)
        return 2 * item


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_progress_comes_within_a_piece(workers: int, tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []

    def seen(done: float, total: float) -> None:
        told.append((done, total))
        if 0 < done < 1:
            (tmp_path / "seen").touch()

    folder = tmp_path if workers > 1 else None
    assert list(run_all(range(3), partial(Doubler, folder), workers=workers, progress=seen)) == [0, 2, 4]
    assert (told[-1], {total for _, total in told}) == ((3, 3), {3})
    assert told == sorted(told)
    assert any(0 < done < 1 for done, _ in told)


def test_nothing_to_do_builds_no_worker() -> None:
    assert list(run_all([], pytest.fail, workers=1, progress=silent)) == []


class Numbered:
    """Gives its own number, when as many workers are at work as there are pieces."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder, self._worker = folder, worker

    def run(self, item: int, progress: Progress) -> int:
        (self._folder / str(self._worker)).touch()
        wait_for(lambda: len(list(self._folder.iterdir())) == 3)
        return self._worker


def test_workers_are_numbered_from_0(tmp_path: Path) -> None:
    assert sorted(run_all(range(3), partial(Numbered, tmp_path), workers=3, progress=silent)) == [0, 1, 2]
    assert list(run_all(range(1), partial(Numbered, tmp_path), workers=3, progress=silent)) == [0]


class Dying:
    """Is killed with piece 1, as by a kernel that has no memory left, when the other pieces are done."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder = folder

    def run(self, item: int, progress: Progress) -> int:
        if item == 1:
            wait_for(lambda: len(list(self._folder.iterdir())) == 3)
            time.sleep(0.5)  # for the last result to reach the parent
            os.kill(os.getpid(), signal.SIGKILL)
        (self._folder / str(item)).touch()
        return item


def test_when_a_worker_is_killed_what_is_done_is_kept(tmp_path: Path) -> None:
    found = []
    with pytest.raises(MissingError, match="a worker process was killed") as raised:  # noqa: PT012
        for item in run_all(range(4), partial(Dying, tmp_path), workers=2, progress=silent):
            found.append(item)
    assert found == [0, 2, 3]
    assert "--workers" in raised.value.remedy


class Unmade:
    def __init__(self, worker: int) -> None:
        raise MissingError(f"worker {worker} has no device")

    def run(self, item: int, progress: Progress) -> int:
        raise AssertionError


def test_a_worker_that_cannot_be_made_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingError, match=r"worker [01] has no device"):
        list(run_all(range(2), Unmade, workers=2, progress=silent))
    assert "Traceback" not in capfd.readouterr().err


def wait_for(seen: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < until
        time.sleep(0.01)
