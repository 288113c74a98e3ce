"""`poisonsets verify`: recompute every claim of a poison set that bytes can prove."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.manifests import ranges
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.findings import Report
    from poisonsets.manifests.model import BasePin


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
    find = finder(base, holdout=holdout, split_seed=split_seed, resize=resize)
    report = checked(path, find, quiet=quiet)
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


def checked(path: Path, find: Callable[[BasePin], Base], *, quiet: bool = False) -> Report:
    """The report on a set, with a progress bar."""
    from poisonsets.manifests.verify import verify as run

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
