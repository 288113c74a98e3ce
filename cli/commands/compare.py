"""`poisonsets compare`: rows of many sets, protocols and victims in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from poisonsets.cli import options, output
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_output, in_what
from poisonsets.manifests.errors import UsageError


def compare(
    results: Annotated[
        list[Path],
        typer.Argument(help="Results folders, folders of such, row files, or JSON documents of scores."),
    ],
    by: Annotated[
        Literal["attack", "defence", "protocol", "suite"],
        in_what(help="What is ranked; suite: attacks by the mean over a suite's networks."),
    ] = "attack",
    protocol: Annotated[
        list[str] | None,
        in_what(autocompletion=names("protocols"), help="Only rows of this protocol; may be repeated."),
    ] = None,
    style: Annotated[
        Literal["table", "md", "csv", "tex", "json", "html"] | None,
        in_output("--format", help="How the table is written. Default: table."),
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Rank what scores say: entries that share base, trials, protocol and budget, with a paired test of each two."""
    if as_json and style not in (None, "json"):
        raise UsageError(f"--json and --format {style} are two formats", "Give one of them")
    from poisonsets.victims.comparison.formats import written
    from poisonsets.victims.comparison.ranking import compare_rows
    from poisonsets.victims.comparison.results_files import read_results

    found = compare_rows(read_results(results), by, protocol or ())
    print(written(found, "json" if as_json else style or "table"), end="")
    if len(found.groups) > 1:
        output.note(f"{len(found.groups)} groups, each ranked by itself: their titles say what differs", quiet=quiet)
    if any(entry.attack == "unknown" for group in found.groups for entry in group.entries):
        output.note(
            "rows that do not name their attack are ranked apart, for their budget is unknown: score the sets again",
            quiet=quiet,
        )
