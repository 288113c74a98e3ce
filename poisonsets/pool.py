"""Blocks to worker processes and results back, in order; one worker means this process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait

from poisonsets.blocks import Block
from poisonsets.crafter import Crafter, Result
from poisonsets.manifests.errors import MissingError

_crafter: Crafter | None = None


def crafted(
    blocks: Sequence[Block],
    make: Callable[[], Crafter],
    *,
    workers: int,
    progress: Callable[[int, int], None],
) -> Iterator[list[Result]]:
    """Craft blocks and give their results in the order of the blocks.

    Args:
        blocks: the work.
        make: builds the crafter; it is sent to every worker, so it must be picklable.
        workers: processes; 1 crafts here.
        progress: told (steps done, steps in all) over all blocks, where this process does the work.
    """
    if workers == 1 or len(blocks) <= 1:
        crafter = make() if blocks else None
        for number, block in enumerate(blocks):
            report = partial(_scaled, progress, number, len(blocks))
            if crafter is not None:
                yield crafter.run(block, report)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(blocks)), context, _start, (make,)) as pool:
        try:
            with _interrupts_held():
                running = pool.map(_run, blocks)
            for number, results in enumerate(running):
                progress(number + 1, len(blocks))
                yield results
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
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


def _scaled(progress: Callable[[int, int], None], number: int, blocks: int, done: int, total: int) -> None:
    progress(number * total + done, blocks * total)


def _start(make: Callable[[], Crafter]) -> None:
    global _crafter
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _crafter = make()


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(block: Block) -> list[Result]:
    if _crafter is None:
        raise RuntimeError("the worker was not started")
    return _crafter.run(block)
