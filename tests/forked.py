"""A child of the test process, to be killed."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[BaseProcess]:
    """A process that knows all that this one does and works beside it; killed at the end if it still runs."""
    process = multiprocessing.get_context("fork").Process(target=work)
    with warnings.catch_warnings():
        # From Python 3.12 on, of threads that a child does not have; those of the numeric libraries are idle here.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
