"""What people see: tables and JSON on stdout, notes and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from poisonsets.manifests.findings import printable

Report = Callable[[int, int], None]


def document(value: Any) -> None:
    """Print exactly one JSON document on stdout."""
    print(json.dumps(value, indent=2, sort_keys=True))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Print a table on stdout.

    Args:
        title: stands above it.
        columns: headings.
        rows: one string a cell; control characters are escaped.
        right: positions of columns that hold numbers.
    """
    from rich.console import Console
    from rich.table import Table

    built = Table(title=title or None, title_justify="left", title_style="bold")
    for position, name in enumerate(columns):
        built.add_column(name, justify="right" if position in right else "left", overflow="fold")
    for row in rows:
        built.add_row(*(_plain(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(built)


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line on stderr unless told to be quiet."""
    if not quiet:
        print(printable(text), file=sys.stderr)


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Report]:
    """A progress bar on stderr; silent where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def percent(part: int, whole: int) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * part / whole:.1f} %" if whole else "none"


def interval(bounds: tuple[float, float] | None) -> str:
    """A 95 % interval of a share, in percent."""
    return "none" if bounds is None else f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape("\n".join(printable(line) for line in text.split("\n")))
