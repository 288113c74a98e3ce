"""Work is done in the order it is given, here or in other processes, and told of while it is under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.workers import run_all


class Doubler:
    """Doubles a number in four steps; with a folder it waits between them until somebody has seen how far it is."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def run(self, item: int, progress: Callable[[float, int], None]) -> int:
        for step in range(4):
            progress(step, 4)
            while self._folder and step == 1 and not (self._folder / "seen").exists():
                time.sleep(0.01)
        return 2 * item


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_progress_comes_within_a_piece(workers: int, tmp_path: Path) -> None:
    told: list[tuple[float, int]] = []

    def seen(done: float, total: int) -> None:
        told.append((done, total))
        if 0 < done < 1:
            (tmp_path / "seen").touch()

    folder = tmp_path if workers > 1 else None
    assert list(run_all(range(3), partial(Doubler, folder), workers=workers, progress=seen)) == [0, 2, 4]
    assert (told[-1], {total for _, total in told}) == ((3, 3), {3})
    assert told == sorted(told)
    assert any(0 < done < 1 for done, _ in told)


def test_nothing_to_do_builds_no_worker() -> None:
    assert list(run_all([], pytest.fail, workers=1, progress=lambda done, total: None)) == []


class Dying:
    def run(self, item: int, progress: Callable[[float, int], None]) -> int:
        import os

        os._exit(9)


def test_a_worker_that_is_killed_is_named() -> None:
    with pytest.raises(MissingError, match="a worker process was killed"):
        list(run_all(range(2), Dying, workers=2, progress=lambda done, total: None))
