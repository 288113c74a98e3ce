"""`poisonsets verify`: recompute every claim of a poison set that bytes can prove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.manifests import ranges
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.findings import Report


def verify(
    path: Annotated[Path, typer.Argument(help="The set's folder.")],
    base: Annotated[str | None, typer.Option("--base", help="The base; default: found in the cache by digest.")] = None,
    holdout: options.Holdout = None,
    split_seed: options.SplitSeed = 0,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Verify a poison set: integrity, budget, clean labels, slots, targets and drawn trials, from the bytes on disk."""
    report = checked(path, base, holdout=holdout, split_seed=split_seed, resize=resize, quiet=quiet)
    if as_json:
        output.document(report.as_json())
    else:
        tell(report)
    raise typer.Exit(report.worst)


def checked(
    path: Path,
    base: str | None = None,
    *,
    holdout: str | None = None,
    split_seed: int = 0,
    resize: int | None = None,
    quiet: bool = False,
) -> Report:
    """The report on a set; its base is the one named, or the cached one with the pinned digests.

    Raises:
        UsageError: options that change a base without a base.
    """
    if base is None and (holdout or split_seed or resize):
        raise UsageError("--holdout, --split-seed and --resize go with --base", "Name the base too")
    from poisonsets.manifests.bases.cache import find_base, open_base
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.model import BasePin
    from poisonsets.manifests.verify import verify as run

    def find(pin: BasePin) -> Base:
        if base is None:
            return find_base(pin, cache=options.cache_folder())
        return open_base(base, cache=options.cache_folder(), holdout=holdout, split_seed=split_seed, resize=resize)

    with output.progress("verifying", quiet=quiet) as report:
        return run(path, find, report)


def tell(report: Report) -> None:
    """Print a report for people: findings first, the verdict last."""
    for finding in report.findings:
        print(finding.line())
    if report.total > len(report.findings):
        print(f"... and {report.total - len(report.findings)} more findings")
    counted = ", ".join(f"{value} {name}" for name, value in report.checked.items())
    if report.clean:
        print(f"{report.path}: every claim that bytes can prove holds ({counted})")
        print(f"content digest {report.content_digest}")
        print(f"poisons a trial: {report.rates_line()}")
        if report.exempt:
            print(f"trials whose budget leaves out the pixels under the trigger: {ranges.spelled(report.exempt)}")
        print("not checked: " + "; ".join(report.not_checked))
    else:
        verdict = "damaged" if report.worst == 3 else "claims that do not hold"
        print(f"{report.path}: {verdict}, {report.total} finding{'s' if report.total > 1 else ''}")
