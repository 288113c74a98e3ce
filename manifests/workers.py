"""Work done in worker processes, with results in order and progress on the way; one worker means this process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection
from multiprocessing.sharedctypes import Synchronized
from typing import Any, Protocol, TypeAlias, TypeVar

from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.memory import keep_freed_memory
from poisonsets.manifests.plugins import PluginWarning

Progress: TypeAlias = Callable[[float, float], None]
"""Told (steps done, steps in all); a step in work counts by its share."""
Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)
LOOK_EVERY = 0.2  # seconds


def silent(done: float, total: float) -> None:
    """Progress that nobody is told."""


class Worker(Protocol[Item, Result]):
    """What does the work, built once in each process."""

    def run(self, item: Item, progress: Progress) -> Result:
        """Do one piece of work."""
        ...


_make: Callable[[], Worker[Any, Any]]
_worker: Worker[Any, Any] | None = None
_shares: MutableSequence[float] = []


def part_of(progress: Progress, number: int, parts: int) -> Progress:
    """The progress of part `number` of `parts` equal parts of some work, told as progress of the whole."""
    return lambda done, total: progress(number + done / total, parts)


def run_all(
    items: Sequence[Item], make: Callable[[int], Worker[Item, Result]], *, workers: int, progress: Progress
) -> Iterator[Result]:
    """Do every piece of work and yield the results in the order of the pieces.

    Args:
        items: the pieces; they and `make` must be picklable.
        make: builds the worker of a process from its number, 0 and up: where it works can depend on it.
        workers: processes; 1 works in this one.
        progress: told the pieces done, with the shares of those in work, and all pieces.

    Raises:
        MissingError: a worker was killed; what was done by then is yielded before, without what is missing between.
    """
    if items and (workers == 1 or len(items) == 1):
        worker = make(0)
        for number, item in enumerate(items):
            result = worker.run(item, part_of(progress, number, len(items)))
            progress(number + 1, len(items))
            yield result
    elif items:
        yield from _run_in_processes(items, make, min(workers, len(items)), progress)


def _run_in_processes(
    items: Sequence[Item], make: Callable[[int], Worker[Item, Result]], workers: int, progress: Progress
) -> Iterator[Result]:
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    shares = context.RawArray("d", len(items))  # each piece's share done, written where it is worked on
    started = context.Value("i", 0)
    with ProcessPoolExecutor(workers, context, _start, (make, shares, started)) as pool:
        try:
            with _interrupts_blocked():
                running = deque(pool.submit(_run, number, item) for number, item in enumerate(items))
            while running:
                pending = wait([running[0]], timeout=LOOK_EVERY).not_done
                progress(sum(shares), len(items))
                if not pending:
                    yield from _done(running)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


def _done(running: deque[Future[Result]]) -> Iterator[Result]:
    """The result of the first piece; where its worker was killed those of all that are done, before the error."""
    try:
        yield running.popleft().result()
    except BrokenProcessPool as error:
        yield from [one.result() for one in running if one.done() and one.exception() is None]
        cause = "a worker process was killed, most likely because memory ran out"
        raise MissingError(cause, "Use fewer --workers with --resume") from error


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that start in the block inherit the mask and never see Ctrl-C: one stopped half started hangs the pool.

    This process ends its workers itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(make: Callable[[int], Worker[Any, Any]], shares: MutableSequence[float], started: Synchronized[int]) -> None:
    global _make, _shares
    _shares = shares
    with started.get_lock():
        number = started.value
        started.value += 1
    threading.Thread(target=_die_with_parent, daemon=True).start()
    keep_freed_memory()
    warnings.simplefilter("ignore", PluginWarning)  # the parent has given them
    _make = partial(make, number)


def _die_with_parent() -> None:
    """End this worker with its parent: if that is killed, it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _run(number: int, item: Any) -> Any:
    global _worker
    if _worker is None:
        _worker = _make()  # not at the start, where an error would be taken for the death of the process

    def share(done: float, total: float) -> None:
        _shares[number] = done / total

    result = _worker.run(item, share)
    share(1, 1)
    return result
