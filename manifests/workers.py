"""Work to worker processes and results back, in order; one worker means this process. How work tells how far it is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeAlias, TypeVar

from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.plugins import PluginWarning

Item = TypeVar("Item", contravariant=True)
Found = TypeVar("Found", covariant=True)
Progress: TypeAlias = Callable[[int, int], None]
"""Told (steps done, steps in all)."""


def silent(done: int, total: int) -> None:
    """Progress that nobody is told."""


class Worker(Protocol[Item, Found]):
    """What does the work, built once in each process."""

    def run(self, item: Item, progress: Progress) -> Found:
        """Do one piece of work."""
        ...


_worker: Worker[Any, Any] | None = None


def worked(
    items: Sequence[Item],
    make: Callable[[], Worker[Item, Found]],
    *,
    workers: int,
    progress: Progress,
) -> Iterator[Found]:
    """Do every piece of work and give the results in the order of the pieces.

    Args:
        items: the work; sent to the workers, so each must be picklable.
        make: builds what does it; it is sent to every worker too.
        workers: processes; 1 works here.
        progress: told (steps done, steps in all) over all pieces, where this process does the work.

    Raises:
        MissingError: a worker was killed.
    """
    if workers == 1 or len(items) <= 1:
        worker = make() if items else None
        for number, item in enumerate(items):
            report = partial(_scaled, progress, number, len(items))
            if worker is not None:
                yield worker.run(item, report)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(items)), context, _start, (make,)) as pool:
        try:
            with _interrupts_held():
                running = pool.map(_run, items)
            for number, results in enumerate(running):
                progress(number + 1, len(items))
                yield results
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise MissingError(
                    "a worker process was killed, most likely for want of memory", "Use fewer --workers with --resume"
                ) from error
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C: a worker that it stops half started would hang the pool.

    The mask is inherited; this process ends its workers itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _scaled(progress: Progress, number: int, items: int, done: int, total: int) -> None:
    progress(number * total + done, items * total)


def _start(make: Callable[[], Worker[Any, Any]]) -> None:
    global _worker
    threading.Thread(target=_die_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", PluginWarning)  # the process that started this one has said it
    _worker = make()


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(item: Any) -> Any:
    if _worker is None:
        raise RuntimeError("the worker was not started")
    return _worker.run(item, silent)
