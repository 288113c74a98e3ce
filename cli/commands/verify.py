"""`poisonsets verify`: recompute every claim of a poison set that bytes can prove."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import any_set, options, output
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_output, in_trials, in_what
from poisonsets.cli.reports import checked, tell
from poisonsets.door.bases import finder
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import store

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.records.base import BasePin
    from poisonsets.manifests.verification.findings import Report


def verify(
    path: Annotated[Path, typer.Argument(help="The set's folder, or a foreign set: see `poisonsets list formats`.")],
    base: options.PinnedBase = None,
    setup: Annotated[
        str | None,
        in_what(
            autocompletion=names("setups"),
            help="Compare targets, labels, bases and their number with this published setup, a name or a file.",
        ),
    ] = None,
    sample: Annotated[
        str | None, in_trials(metavar="I/N", help="Read and judge one part of the trials only: 1/10 to 10/10.")
    ] = None,
    seed: Annotated[int, in_trials(min=0, help="Seed of --sample's parts; choose your own.")] = 0,
    compat: Annotated[
        bool, in_output(help="Add what the published benchmark's checker says; never changes the exit code.")
    ] = False,
    plugins: options.Plugins = False,
    html: Annotated[
        Path | None, in_output(help="Write a page with the worst poisons pictured to this new file.")
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Verify a poison set: integrity, budget, clean labels, slots, targets and drawn trials, from the bytes on disk."""
    others = options.take_plugins() if plugins else ()
    find = finder(base)
    if seed and sample is None:
        raise UsageError("--seed goes with --sample", "Add --sample 1/10")
    if html is not None:
        store.refuse_existing(html)
    with any_set.native(path, base, quiet=quiet) as ours:
        report = checked(ours, find, setup=setup, sample=sample, seed=seed, compat=compat, quiet=quiet)
        report = replace(report, path=str(path), plugins=others)
        if html is not None:
            _write_page(html, ours, find, report)
    if as_json:
        output.document(report.as_json())
    else:
        tell(report)
    raise typer.Exit(report.worst)


def _write_page(html: Path, path: Path, find: Callable[[BasePin], Base], report: Report) -> None:
    from poisonsets.manifests.sets.reader import open_set
    from poisonsets.manifests.verification import html_page

    shown: tuple[html_page.PicturedPoison, ...] = ()
    if report.figures is not None:
        opened = open_set(path)
        shown = html_page.worst_poisons(opened, find(opened.manifest.base), report)
    store.write_file(html, html_page.page(report, shown).encode())
