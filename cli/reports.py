"""A verification report on the terminal: verdict, findings by code, what was not checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from poisonsets.cli import output
from poisonsets.manifests import spelling

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.records.base import BasePin
    from poisonsets.manifests.verification.findings import CodeFindings, Report


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
    from poisonsets.manifests.trials.published import open_setup
    from poisonsets.manifests.verification import sample as samples
    from poisonsets.manifests.verification.verify import verify as run

    part = None if sample is None else samples.parse_sample(sample, seed)
    published = None if setup is None else open_setup(setup)
    with output.progress("verifying", quiet=quiet) as report:
        return run(path, find, report, setup=published, sample=part, compat=compat)


def tell(report: Report) -> None:
    """Print a report for people: what was read, findings, figures, the verdict last."""
    for plugin in report.plugins:
        print(f"with {plugin}")
    for line in report.sample.lines() if report.sample is not None else ():
        print(line)
    tell_findings(report.by_code)
    if report.figures is not None:
        rows = report.figures.rows()
        for name, value in rows:
            print(f"{name:{max(len(one) for one, _ in rows)}}  {value}")
    counted = ", ".join(f"{value} {name}" for name, value in report.checked.items())
    if report.clean:
        print(f"{report.path}: {report.holding} ({counted})")
        print(f"content digest {report.content_digest}")
        print(f"poisons per trial: {report.rates_line()}")
        if report.exempt:
            print(
                f"trials whose budget leaves out the pixels under the trigger: {spelling.format_numbers(report.exempt)}"
            )
        print("not checked: " + "; ".join(report.not_checked))
    else:
        for row in report.verdict_rows():
            print(f"{row[0]}: {row[1]}")
        verdict, count = "damaged" if report.worst == 3 else "claims that do not hold", report.total - report.hints
        print(f"{report.path}: {verdict}, {count} finding{'s' if count > 1 else ''}")


def tell_findings(by_code: Iterable[CodeFindings]) -> None:
    """Print the first findings of each code, and how many there are."""
    for code in by_code:
        print(*code.lines(), sep="\n")
