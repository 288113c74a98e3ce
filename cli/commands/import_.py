"""`poisonsets import`: make a poison set of ours from one that another tool wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from poisonsets.cli import options, output
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_budget, in_running, in_trials, in_what
from poisonsets.door.bases import named_base
from poisonsets.door.classes import ADVERSARIAL, label
from poisonsets.door.words import set_name
from poisonsets.manifests import limits, spelling
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.interop.importing.import_set import ImportResult
    from poisonsets.manifests.records.trial import Constraint
    from poisonsets.manifests.verification.findings import Report


def import_(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", autocompletion=names("formats"), help="A format of `poisonsets list formats`, or auto."
        ),
    ],
    source: Annotated[Path, typer.Argument(help="The file, a trial's folder, or a folder of numbered trials.")],
    *,
    base: options.BaseName,
    setup: Annotated[
        str | None,
        in_trials(
            autocompletion=names("setups"),
            help="The published setup it was made for, by name or file; bases and targets must be that one's.",
        ),
    ] = None,
    trials: options.Trials = None,
    number: Annotated[
        int | None,
        in_trials(min=0, max=limits.LAST_TRIAL, help="The number of a single trial. Default: its folder's, or 0."),
    ] = None,
    target: Annotated[
        int | None, in_trials(min=0, help="The target, an index into the test split, of files that name none.")
    ] = None,
    adversarial_label: Annotated[
        str | None, in_trials(metavar="CLASS", help="What the target shall be called, of poisons with several labels.")
    ] = None,
    epsilon: options.Epsilon = 8,
    exempt_trigger: Annotated[
        bool, in_budget("--exempt-trigger", help="The budget leaves out the pixels under the patch.")
    ] = False,
    labels: Annotated[Literal["clean", "adversarial"], in_budget(help="The labels it claims.")] = "clean",
    composition: Annotated[
        Literal["in-place", "add"], in_budget(help="How the poisons enter a training set.")
    ] = "in-place",
    unit: Annotated[
        str | None, in_what(help="What its numbers mean: 0-255, 0-1, normalised:NAME or normalised:M,M,M/S,S,S.")
    ] = None,
    attack: Annotated[str, in_what(help="The attack's name.")] = "unknown",
    skip_bad: Annotated[
        bool, in_running("--skip-bad", help="Import the sound trials alone; else one bad trial keeps all out.")
    ] = False,
    plugins: options.Plugins = False,
    out: options.SetFolder,
    name: options.SetName = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Import a foreign poison set, say what is odd about which trial, and verify what came of it."""
    from poisonsets.manifests.interop import formats
    from poisonsets.manifests.interop.importing import claims
    from poisonsets.manifests.interop.importing.import_set import import_set
    from poisonsets.manifests.interop.units import parse_unit
    from poisonsets.manifests.records.trial import Add, InPlace
    from poisonsets.manifests.trials.published import open_setup

    others = options.take_plugins() if plugins else ()
    if unit is not None:
        parse_unit(unit)
    found = formats.find_format(form, source)
    constraint = _constraint(epsilon, exempt=exempt_trigger)
    published = None if setup is None else open_setup(setup)
    opened = named_base(base)
    claimed = claims.Claims(
        constraint=constraint,
        labels=labels,
        composition=Add() if composition == "add" else InPlace(),
        attack=attack,
        unit=unit,
        setup=published,
        target=target,
        adversarial_label=None if adversarial_label is None else label(adversarial_label, opened, ADVERSARIAL),
    )
    with output.progress(f"importing {found.name}", quiet=quiet) as report:
        done = import_set(
            out,
            found,
            source,
            opened,
            claimed,
            name=set_name(name, out) or found.name,
            number=number,
            only=None if trials is None else tuple(trials),
            skip_bad=skip_bad,
            progress=report,
        )
    judged = None if done.content_digest is None else _judged(out, opened, quiet=quiet)
    _tell(done, judged, out, others, as_json=as_json)
    raise typer.Exit(max(done.worst, 0 if judged is None else judged.worst))


def _judged(out: Path, base: Base, *, quiet: bool) -> Report:
    """The verdict on the set just written."""
    from poisonsets.manifests.verification.verify import verify

    with output.progress("verifying", quiet=quiet) as report:
        return verify(out, lambda _pin: base, report)


def _constraint(levels: int | None, *, exempt: bool) -> Constraint:
    from poisonsets.manifests.records.trial import Linf, Unconstrained

    if levels is None and exempt:
        raise UsageError("--exempt-trigger without a budget", "Give --epsilon, or leave it out")
    return Unconstrained() if levels is None else Linf(levels=levels, exempt_trigger=exempt)


def _tell(done: ImportResult, judged: Report | None, out: Path, others: Sequence[str], *, as_json: bool) -> None:
    from poisonsets.cli.reports import tell_findings
    from poisonsets.manifests.verification.findings import record

    findings = done.by_code + (() if judged is None else judged.by_code)
    if as_json:
        output.document(
            {
                "schema_version": 1,
                "format": done.format,
                "path": None if judged is None else str(out),
                "content_digest": done.content_digest,
                "trials": list(done.trials),
                "kept_out": list(done.kept_out),
                **record(findings),
                "clean": judged is not None and judged.clean,
                "plugins": list(others),
            }
        )
        return
    for plugin in others:
        print(f"with {plugin}")
    tell_findings(findings)
    if judged is None:
        print(f"nothing was written: {len(done.kept_out)} trials cannot be imported; --skip-bad leaves them out")
        return
    left = f", {len(done.kept_out)} left out ({spelling.format_numbers(done.kept_out)})" if done.kept_out else ""
    print(f"{out}: {len(done.trials)} trials of the format {done.format} imported{left}")
    print(f"content digest {done.content_digest}")
    print(
        judged.holding if judged.clean else f"not every claim holds ({spelling.command('verify', out)} has all of it)"
    )
