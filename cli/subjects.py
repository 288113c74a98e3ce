"""What `poisonsets score` scores: a poison set that verified, or a whole training set of somebody else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from poisonsets.cli import any_set, output, training_sets
from poisonsets.cli.reports import checked, tell
from poisonsets.cli.training_sets import TargetOptions
from poisonsets.door.bases import finder, named_base
from poisonsets.manifests.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.sets.reader import PoisonSet
    from poisonsets.manifests.training_sets.training_set import OpenTrainingSet
    from poisonsets.manifests.verification.findings import Report


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        path: as the user named it.
        opened: the poison set, or the training set without a manifest.
        base: its base dataset.
        attack: how its attack is called in the table.
        not_checked: the claims that nobody could check.
    """

    path: Path
    opened: PoisonSet | OpenTrainingSet
    base: Base
    attack: str
    not_checked: tuple[str, ...]

    @property
    def whole(self) -> OpenTrainingSet | None:
        """It, where it has no manifest."""
        from poisonsets.manifests.training_sets.training_set import OpenTrainingSet

        return self.opened if isinstance(self.opened, OpenTrainingSet) else None


@contextmanager
def subject(
    path: Path,
    base: str | None,
    targets: TargetOptions,
    *,
    trials: Sequence[int] | None,
    quiet: bool,
    as_json: bool,
) -> Iterator[Subject]:
    """What lies at a path; a set of another tool is imported into a folder that is there while the block runs.

    Args:
        path, base: as the user named them.
        targets: what to ask victims of a training set without a manifest.
        trials: each must be in a poison set.
        quiet: no notes.
        as_json: how the report on a set that does not verify is told.

    Raises:
        typer.Exit: the set does not verify, and that was said.
        UsageError, MissingError, DamagedError, ViolationError: it is nothing that can be scored.
    """
    if targets.present:
        targets.refuse_misfit(path)
        yield _training_set(path, targets, base, quiet=quiet)
        return
    with any_set.native(path, base, quiet=quiet) as ours:
        targets.refuse_misfit(ours)
        yield _poison_set(ours, base, trials, shown=path, quiet=quiet, as_json=as_json)


def _training_set(path: Path, targets: TargetOptions, base: str | None, *, quiet: bool) -> Subject:
    from poisonsets.manifests.training_sets.contents import NOT_CHECKED

    if base is None:
        raise UsageError(
            f"{path}: without a manifest nothing says which dataset it was made from",
            "Name it with `--base`; `poisonsets base list` shows what there is",
        )
    dataset = named_base(base)
    whole = training_sets.open_with_notes(path, targets, dataset, quiet=quiet)
    return Subject(path, whole, dataset, "no manifest, attack unknown", NOT_CHECKED)


def _poison_set(
    path: Path, base: str | None, trials: Sequence[int] | None, *, shown: Path, quiet: bool, as_json: bool
) -> Subject:
    """The set at a path, shown as what the user named, verified; where it does not verify, the command ends here."""
    find = finder(base)
    report = replace(checked(path, find, quiet=quiet), path=str(shown))
    if not report.clean:
        if as_json:
            output.document(report.as_json())
        else:
            tell(report)
        output.note(f"{shown}: nothing was scored, because the set does not verify")
        raise typer.Exit(report.worst)
    opened = _reopened(path, report)
    for number in trials or ():
        opened.trial(number)
    manifest = opened.manifest
    return Subject(shown, opened, find(manifest.base), manifest.attack.name, report.not_checked)


def _reopened(path: Path, report: Report) -> PoisonSet:
    from poisonsets.manifests.sets.reader import open_set

    opened = open_set(path)
    now, then = opened.manifest.content_digest, str(report.content_digest)
    if now != then:
        raise DamagedError(
            f"{report.path}: verified as {then[:12]}, now it is {now[:12]}",
            "Score it again when nothing writes there",
        )
    return opened
