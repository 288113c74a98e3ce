"""A verification report on the terminal: verdict, findings by code, what was not checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from poisonsets.cli import output
from poisonsets.manifests import spelling

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.records.base import BasePin
    from poisonsets.manifests.verification.findings import Finding, Report


SHOWN: Final = 10


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
    from poisonsets.manifests.records.origin import NamedSetup
    from poisonsets.manifests.trials.named import RULES
    from poisonsets.manifests.trials.setup_file import read_setup
    from poisonsets.manifests.verification import sample as samples
    from poisonsets.manifests.verification.verify import verify as run

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
            print(f"trials whose budget leaves out the pixels under the trigger: {spelling.spelled(report.exempt)}")
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
