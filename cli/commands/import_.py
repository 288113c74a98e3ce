"""`poisonsets import`: make a poison set of ours from one that another tool wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from poisonsets.cli import options, output
from poisonsets.cli.bases import named_base
from poisonsets.manifests import limits, spelling
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.interop.importing.import_set import Imported
    from poisonsets.manifests.records.trial import Constraint
    from poisonsets.manifests.verification.findings import Report

LABELS: tuple[Literal["clean", "adversarial"], ...] = ("clean", "adversarial")
RULES: tuple[Literal["in-place", "add"], ...] = ("in-place", "add")


def import_(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="A format of `list formats`, or auto.")],
    source: Annotated[Path, typer.Argument(help="The file, a trial's folder, or a folder of numbered trials.")],
    base: options.BaseName,
    out: Annotated[Path, typer.Option("-o", "--output", help="The set's folder; must be empty or new.")],
    setup: Annotated[
        str | None, typer.Option(help="The published setup it was made for; its bases and targets must be that one's.")
    ] = None,
    trials: Annotated[str | None, typer.Option(help="Which trials: 0-9, 3. Default: all.")] = None,
    number: Annotated[
        int | None,
        typer.Option(min=0, max=limits.LAST_TRIAL, help="The number of a single trial. Default: its folder's, or 0."),
    ] = None,
    epsilon: Annotated[
        str, typer.Option(help="The l-infinity budget it claims, in whole levels of 255, or none.")
    ] = "8",
    exempt_trigger: Annotated[
        bool, typer.Option("--exempt-trigger", help="The budget leaves out the pixels under the patch.")
    ] = False,
    labels: Annotated[str, typer.Option(help="The labels it claims: clean or adversarial.")] = "clean",
    composition: Annotated[str, typer.Option(help="in-place or add.")] = "in-place",
    attack: Annotated[str, typer.Option(help="The attack's name.")] = "unknown",
    unit: Annotated[
        str | None, typer.Option(help="What its numbers mean: 0-255, 0-1, normalised:NAME or normalised:M,M,M/S,S,S.")
    ] = None,
    target: Annotated[
        int | None, typer.Option(min=0, help="The target, a test image, of files that name none.")
    ] = None,
    adversarial_label: Annotated[
        int | None, typer.Option(min=0, help="What the target shall be called, of poisons with several labels.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import the sound trials alone; else one bad trial keeps all out.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The set's name. Default: the output folder's.")] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Import a foreign poison set, say what is odd about which trial, and verify what came of it."""
    levels = None if epsilon == "none" else options.levels(epsilon)
    chosen = None if trials is None else tuple(spelling.parse_numbers(trials, "--trials"))
    stated = options.choice("--labels", labels, LABELS) or "clean"
    rule = options.choice("--composition", composition, RULES) or "in-place"

    from poisonsets.manifests.interop import formats
    from poisonsets.manifests.interop.importing import claims
    from poisonsets.manifests.interop.importing.import_set import import_set
    from poisonsets.manifests.interop.units import parse_unit
    from poisonsets.manifests.records.trial import Add, InPlace
    from poisonsets.manifests.trials.published import open_setup

    if unit is not None:
        parse_unit(unit)
    found = formats.find_format(form, source)
    said = claims.Claims(
        constraint=_constraint(levels, exempt=exempt_trigger),
        labels=stated,
        composition=Add() if rule == "add" else InPlace(),
        attack=attack,
        unit=unit,
        setup=None if setup is None else open_setup(setup),
        target=target,
        adversarial_label=adversarial_label,
    )
    opened = named_base(base)
    default = re.sub(r"[^A-Za-z0-9._-]", "-", out.resolve().name).lstrip("._-")[:200] or found.name
    with output.progress(f"importing {found.name}", quiet=quiet) as report:
        done = import_set(
            out,
            found,
            source,
            opened,
            said,
            name=name or default,
            number=number,
            only=chosen,
            skip_bad=skip_bad,
            progress=report,
        )
    judged = None
    if done.content_digest is not None:
        from poisonsets.manifests.verification.verify import verify

        with output.progress("verifying", quiet=quiet) as report:
            judged = verify(out, lambda _pin: opened, report)
    _tell(done, judged, out, as_json=as_json)
    raise typer.Exit(max(done.worst, 0 if judged is None else judged.worst))


def _constraint(levels: int | None, *, exempt: bool) -> Constraint:
    from poisonsets.manifests.records.trial import Linf, Unconstrained

    if levels is None and exempt:
        raise UsageError("--exempt-trigger without a budget", "Give --epsilon, or leave it out")
    return Unconstrained() if levels is None else Linf(levels=levels, exempt_trigger=exempt)


def _tell(done: Imported, judged: Report | None, out: Path, *, as_json: bool) -> None:
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
            }
        )
        return
    tell_findings(findings)
    if judged is None:
        print(f"nothing was written: {len(done.kept_out)} trials cannot be imported; --skip-bad leaves them out")
        return
    left = f", {len(done.kept_out)} left out ({spelling.format_numbers(done.kept_out)})" if done.kept_out else ""
    print(f"{out}: {len(done.trials)} trials of the format {done.format} imported{left}")
    print(f"content digest {done.content_digest}")
    print(judged.holding if judged.clean else "not every claim holds (`verify` has all of it)")
