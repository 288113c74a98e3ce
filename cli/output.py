"""What people see: tables and JSON on stdout, notes and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from poisonsets.manifests.spelling import printable

if TYPE_CHECKING:
    from rich.progress import TaskID

Report = Callable[[float, float], None]
NARROW = 4


def document(value: Any) -> None:
    """Print exactly one JSON document on stdout."""
    print(json.dumps(value, indent=2, sort_keys=True))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout.

    Args:
        title: stands above it.
        columns: headings.
        rows: one string a cell; control characters are escaped.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    if console.width < 100 and len(columns) > NARROW:  # a terminal of 80 characters: one heading a line, row by row
        rows = [line for row in rows for line in (*zip(columns, row, strict=True), ("", ""))][:-1]
        columns = ("", "")
    built = Table(title=title or None, title_justify="left", title_style="bold", show_header=any(columns))
    for name in columns:
        built.add_column(name, overflow="fold")
    for row in rows:
        built.add_row(*(_plain(cell) for cell in row))
    console.print(built)


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line on stderr unless told to be quiet."""
    if not quiet:
        print(printable(text), file=sys.stderr)


def debug(*tracebacks: str) -> None:
    """Print tracebacks on stderr where POISONSETS_DEBUG is set."""
    if os.environ.get("POISONSETS_DEBUG"):
        for line in (line for one in tracebacks for line in one.splitlines()):
            print(printable(line), file=sys.stderr)


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Report]:
    """A progress bar on stderr; silent where stderr is no terminal."""
    with progresses(label, quiet=quiet) as (report,):
        yield report


@contextmanager
def progresses(*labels: str, quiet: bool = False) -> Iterator[tuple[Report, ...]]:
    """As `progress`, a bar a label, one below the other; all but the first are there while they have work to do."""
    if quiet or not sys.stderr.isatty():
        from poisonsets.manifests.workers import silent

        yield (silent,) * len(labels)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = [bar.add_task(label, total=None, visible=label == labels[0]) for label in labels]

        def told(task: TaskID, done: float, total: float) -> None:
            if done == 0:  # the same work once more, of something else
                bar.reset(task)
            bar.update(task, completed=done, total=total, visible=task == tasks[0] or done < total)

        yield tuple(partial(told, task) for task in tasks)


class Teller:
    """Notes and bars for what works out of sight, as `door.tell.Tell` wants them; quiet where it is told to be."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def note(self, text: str) -> None:
        """Print a line on stderr."""
        note(text, quiet=self._quiet)

    def progress(self, label: str) -> AbstractContextManager[Report]:
        """A progress bar on stderr."""
        return progress(label, quiet=self._quiet)


def percent(part: int, whole: int) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * part / whole:.1f} %" if whole else "none"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape("\n".join(printable(line) for line in text.split("\n")))
