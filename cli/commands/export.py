"""`poisonsets export`: write a poison set for other tools, or the whole poisoned training set for any trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_output, in_trials, in_what
from poisonsets.cli.predictions import write as write_queries
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.overlay.compose import Rule
    from poisonsets.manifests.records.trial import Trial


def export(
    path: Annotated[Path, typer.Argument(help="The set's folder.")],
    *,
    to: Annotated[
        str, in_what(autocompletion=names("formats"), help="A format of `poisonsets list formats` that is written.")
    ] = "webdataset",
    full: Annotated[
        bool, in_what("--full", help="The whole poisoned training set of each trial, as WebDataset shards.")
    ] = False,
    protocol: Annotated[
        str | None,
        in_what(
            autocompletion=names("protocols"),
            help="With --full: compose it as this protocol does. Default: the trial's own rule.",
        ),
    ] = None,
    queries: Annotated[
        bool, in_what("--queries", help="For a victim of your own: training sets and what to predict, as .npz files.")
    ] = False,
    trials: options.Trials = None,
    victim_seeds: Annotated[
        options.Numbers,
        in_trials(parser=options.numbers("--victim-seeds"), metavar="NUMBERS", help="With --queries: one victim each."),
    ] = (0,),
    base: options.PinnedBase = None,
    out: Annotated[Path, in_output("-o", "--output", help="A folder for the export; must be empty or new.")],
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Export a poison set into a format of other tools, and say what that format cannot hold."""
    if protocol is not None and not full:
        raise UsageError("--protocol composes whole training sets", "Add --full")
    if queries and full:
        raise UsageError("--queries and --full exclude one another", "Leave one out")

    from poisonsets.door.bases import finder
    from poisonsets.manifests.interop import formats
    from poisonsets.manifests.interop.exporting.export_set import export_set
    from poisonsets.manifests.sets.reader import open_set
    from poisonsets.manifests.spelling import unknown

    if to not in formats.formats():
        raise unknown("format", to, [name for name, one in formats.formats().items() if one.write is not None])
    find = finder(base)
    opened = open_set(path)
    if queries:
        dataset = find(opened.manifest.base)
        write_queries(out, opened, dataset, trials=trials, victim_seeds=victim_seeds, quiet=quiet, as_json=as_json)
        return
    with output.progress(f"exporting {to}", quiet=quiet) as report:
        done = export_set(
            out,
            opened,
            find(opened.manifest.base),
            formats.formats()[to],
            only=trials,
            rule=_rule(protocol) if full else None,
            ruled_by=f"as {protocol} does" if protocol else "by each trial's own rule",
            progress=report,
        )
    if as_json:
        output.document(
            {
                "schema_version": 1,
                "path": str(out),
                "format": to,
                "full": full,
                "trials": list(done.trials),
                "files": done.files,
                "dropped": list(done.dropped),
            }
        )
        return
    print(f"{out}: {len(done.trials)} trial{'' if len(done.trials) == 1 else 's'}, {done.files} files")
    print("not in the export: " + "; ".join(done.dropped))


def _rule(protocol: str | None) -> Callable[[Trial], Rule]:
    if protocol is None:
        return lambda trial: trial.composition
    from poisonsets.victims import protocols

    found = protocols.parse(protocol)
    if found.keep != "1":
        raise UsageError(
            f"{protocol} keeps a share of the clean images by victim seed, so there is no one training set",
            "Leave keep out",
        )
    return found.rule
