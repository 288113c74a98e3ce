"""Who is told what work out of sight does: the command line's terminal, or a log."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

LOG = logging.getLogger("poisonsets")


class Tell(Protocol):
    """Takes notes and progress."""

    def note(self, text: str) -> None:
        """Take a line."""

    def progress(self, label: str) -> AbstractContextManager[Callable[[float, float], None]]:
        """Take what is done, and all, of some work."""


class Logged:
    """Notes go to the logger `poisonsets` at level INFO, progress nowhere: what a Python caller has."""

    def note(self, text: str) -> None:
        """Log a line."""
        LOG.info("%s", text)

    def progress(self, label: str) -> AbstractContextManager[Callable[[float, float], None]]:
        """Log that the work begins."""
        LOG.info("%s", label)
        return nullcontext(_silent)


def _silent(done: float, total: float) -> None:
    del done, total
