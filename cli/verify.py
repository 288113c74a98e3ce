"""`poisonsets verify`: recompute every claim of a poison set that bytes can prove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from poisonsets.cli import foreign, options, output
from poisonsets.manifests import ranges
from poisonsets.manifests.errors import MissingError, UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.findings import Finding, Report
    from poisonsets.manifests.model import BasePin

SHOWN: Final = 10
"""Findings of one code that are told one by one."""


def verify(
    path: Annotated[Path, typer.Argument(help="The set's folder, or a foreign set: see `list formats`.")],
    base: Annotated[str | None, typer.Option("--base", help="The base; default: found in the cache by digest.")] = None,
    setup: Annotated[
        str | None, typer.Option(help="Compare the trials with this published setup: a name or a file.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Read one part of the trials only: 1/10 to 10/10 of --seed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of --sample; choose your own.")] = 0,
    compat: Annotated[bool, typer.Option(help="Add what the published benchmark's checker says.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the worst poisons pictured to this file.")
    ] = None,
    holdout: options.Holdout = None,
    split_seed: options.SplitSeed = 0,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Verify a poison set: integrity, budget, clean labels, slots, targets and drawn trials, from the bytes on disk."""
    find = finder(base, holdout=holdout, split_seed=split_seed, resize=resize)
    if seed and sample is None:
        raise UsageError("--seed goes with --sample", "Add --sample 1/10")
    if html is not None:
        _refuse_output(html)
    with foreign.native(path, base, holdout=holdout, split_seed=split_seed, resize=resize, quiet=quiet) as ours:
        report = checked(ours, find, setup=setup, sample=sample, seed=seed, compat=compat, quiet=quiet)
        report = replace(report, path=str(path))
        if html is not None:
            _write_page(html, ours, find, report)
    if as_json:
        output.document(report.as_json())
    else:
        tell(report)
    raise typer.Exit(report.worst)


def finder(base: str | None, *, holdout: str | None, split_seed: int, resize: int | None) -> Callable[[BasePin], Base]:
    """How a command comes to the base that a set pins: the one named, or the cached one with the pinned digests.

    It is read once, however often a command asks for it.

    Raises:
        UsageError: options that change a base without a base.
    """
    if base is None and (holdout or split_seed or resize):
        raise UsageError("--holdout, --split-seed and --resize go with --base", "Name the base too")
    found: list[Base] = []

    def find(pin: BasePin) -> Base:
        from poisonsets.manifests.bases.cache import find_base, open_base

        cache = options.cache_folder()
        if not found and base is None:
            found.append(find_base(pin, cache=cache))
        elif not found and base is not None:
            found.append(open_base(base, cache=cache, holdout=holdout, split_seed=split_seed, resize=resize))
        return found[0].as_pinned(pin)

    return find


def checked(
    path: Path,
    find: Callable[[BasePin], Base],
    *,
    setup: str | None = None,
    sample: str | None = None,
    seed: int = 0,
    compat: bool = False,
    quiet: bool = False,
) -> Report:
    """The report on a set, with a progress bar."""
    from poisonsets.manifests import sample as samples
    from poisonsets.manifests.model import NamedSetup
    from poisonsets.manifests.setups.named import RULES
    from poisonsets.manifests.setups.published import read_setup
    from poisonsets.manifests.verify import verify as run

    part = None if sample is None else samples.parsed(sample, seed)
    given = None
    if setup is not None:
        given = NamedSetup(name=setup) if setup in RULES else read_setup(Path(setup))
    with output.progress("verifying", quiet=quiet) as report:
        return run(path, find, report, setup=given, sample=part, compat=compat)


def tell(report: Report) -> None:
    """Print a report for people: what was read, findings, figures, the verdict last."""
    for line in report.sample.lines() if report.sample is not None else ():
        print(line)
    _tell_findings(report)
    if report.figures is not None:
        rows = report.figures.rows()
        for name, value in rows:
            print(f"{name:{max(len(one) for one, _ in rows)}}  {value}")
    counted = ", ".join(f"{value} {name}" for name, value in report.checked.items())
    if report.clean:
        print(f"{report.path}: {report.holding} ({counted})")
        print(f"content digest {report.content_digest}")
        print(f"poisons a trial: {report.rates_line()}")
        if report.exempt:
            print(f"trials whose budget leaves out the pixels under the trigger: {ranges.spelled(report.exempt)}")
        print("not checked: " + "; ".join(report.not_checked))
    else:
        verdict, count = "damaged" if report.worst == 3 else "claims that do not hold", report.total - report.hints
        print(f"{report.path}: {verdict}, {count} finding{'s' if count > 1 else ''}")


def _tell_findings(report: Report) -> None:
    """A line a finding: of a hint the first one, of another code the first few, and how many more there are."""
    said: Counter[str] = Counter()
    kept = Counter(finding.code for finding in report.findings)
    every = {one.code: one for one in report.counts}
    for finding in report.findings:
        code, most = finding.code, min(kept[finding.code], 1 if finding.kind == "hint" else SHOWN)
        said[code] += 1
        if said[code] <= most:
            _tell_finding(finding, every[code].count - most if said[code] == most else 0)
    for one in report.counts:  # a report holds the first findings only, and of this code none
        if one.code not in said:
            _tell_finding(one.first, one.count - 1)


def _tell_finding(finding: Finding, more: int) -> None:
    """A finding, and how many more of its code are not told."""
    rest = f" (and {more} more {finding.code}, see --json)" if more else ""
    print(("hint: " if finding.kind == "hint" else "") + finding.line() + rest)


def _refuse_output(html: Path) -> None:
    """Refuse a page that cannot be written before a set is read.

    Raises:
        MissingError: there is something of that name, or nothing can be written there.
    """
    from poisonsets.manifests import store

    if html.exists() or html.is_symlink():
        raise MissingError(f"{html}: exists already", "Choose another file or remove it")
    store.refuse_unwritable(html)


def _write_page(html: Path, path: Path, find: Callable[[BasePin], Base], report: Report) -> None:
    from poisonsets.manifests import report_html, store
    from poisonsets.manifests.reader import open_set

    shown: tuple[report_html.Shown, ...] = ()
    if report.figures is not None:
        opened = open_set(path)
        shown = report_html.worst_poisons(opened, find(opened.manifest.base), report)
    store.write_file(html, report_html.page(report, shown).encode())
