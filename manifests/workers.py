"""Work to worker processes and results back, in order; one worker means this process. How work tells how far it is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeAlias, TypeVar

from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.plugins import PluginWarning

Progress: TypeAlias = Callable[[float, float], None]
"""Told (steps done, steps in all); of a step in work its share counts."""
Item = TypeVar("Item", contravariant=True)
Found = TypeVar("Found", covariant=True)
Done = TypeVar("Done")
LOOK_EVERY = 0.2  # seconds


def silent(done: float, total: float) -> None:
    """Progress that nobody is told."""


class Worker(Protocol[Item, Found]):
    """What does the work, built once in each process."""

    def run(self, item: Item, progress: Progress) -> Found:
        """Do one piece of work."""
        ...


_worker: Worker[Any, Any] | None = None
_shares: MutableSequence[float] = []


def part_of(progress: Progress, number: int, parts: int) -> Progress:
    """What one of several equal parts of some work is to tell, so that the whole is told of."""
    return lambda done, total: progress(number + done / total, parts)


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
        progress: told the pieces done, with the shares of those in work, and all pieces.

    Raises:
        MissingError: a worker was killed.
    """
    if workers == 1 or len(items) <= 1:
        worker = make() if items else None
        for number, item in enumerate(items):
            if worker is not None:
                found = worker.run(item, part_of(progress, number, len(items)))
                progress(number + 1, len(items))
                yield found
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    shares = context.RawArray("d", len(items))  # each piece's share done, written where it is worked on
    with ProcessPoolExecutor(min(workers, len(items)), context, _start, (make, shares)) as pool:
        try:
            with _interrupts_held():
                running = deque(pool.submit(_run, number, item) for number, item in enumerate(items))
            while running:
                yield _awaited(running.popleft(), lambda: progress(sum(shares), len(items)))
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


def _awaited(piece: Future[Done], look: Callable[[], None]) -> Done:
    while not piece.done():
        look()
        wait_for([piece], timeout=LOOK_EVERY)
    look()
    return piece.result()


def _start(make: Callable[[], Worker[Any, Any]], shares: MutableSequence[float]) -> None:
    global _worker, _shares
    _shares = shares
    threading.Thread(target=_die_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", PluginWarning)  # the process that started this one has said it
    _worker = make()


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(number: int, item: Any) -> Any:
    if _worker is None:
        raise RuntimeError("the worker was not started")
    found = _worker.run(item, partial(_share, number))
    _share(number, 1, 1)
    return found


def _share(number: int, done: float, total: float) -> None:
    _shares[number] = done / total
