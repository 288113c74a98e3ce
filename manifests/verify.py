"""Verify a poison set: recompute from its bytes every claim that bytes can prove, and list those they cannot.

Integrity comes first; a set that is damaged is not judged further. Nothing here imports torch, runs anything from
the set, or writes a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.checks import SET_CHECKS, TRIAL_CHECKS, Case, integrity
from poisonsets.manifests.counts import Counts, spans
from poisonsets.manifests.counts import counts as count_poisons
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.findings import Finding, Findings, Report
from poisonsets.manifests.model import BasePin, DrawnSetup, FileSetup, ForeignSetup, NamedSetup, Unconstrained
from poisonsets.manifests.ranges import spelled
from poisonsets.manifests.reader import OpenTrial, PoisonSet, open_set
from poisonsets.manifests.setups.named import trials_of

NOT_PROVABLE = (
    "that the named attack, settings and seed made these pixels",
    "that the attacker knew no more than the listed surrogates, and what an included network holds",
    "that the seed was not chosen among many, and the words of the card",
)


def verify(
    path: Path, find_base: Callable[[BasePin], Base], progress: Callable[[int, int], None] | None = None
) -> Report:
    """Check a poison set.

    Args:
        path: the set's folder.
        find_base: gives the base dataset that a manifest pins, or raises MissingError.
        progress: told (trials done, trials in all).

    Raises:
        MissingError: the folder or the base is not there.
    """
    findings = Findings()
    counts: list[Counts] = []
    try:
        opened = open_set(path)
    except DamagedError as error:
        findings.add(integrity.damaged("D101", "manifest.json", error.message))
        return _report(path, None, findings, {}, {})
    for finding in integrity.check_files(opened):
        findings.add(finding)
    if findings.worst == 0:
        base = find_base(opened.manifest.base).as_pinned(opened.manifest.base)
        for code, check_set in SET_CHECKS.items():
            _collect(partial(check_set, opened, base), code, "the set", findings)
        for done, trial in enumerate(opened.trials):
            counted_trial = _check_trial(opened, trial, base, findings)
            counts += [] if counted_trial is None else [counted_trial]
            if progress is not None:
                progress(done + 1, len(opened.trials))
    counted = {
        "trials": len(opened.trials),
        "poisons": sum(len(trial.record.slots.labels) for trial in opened.trials),
        "files": len(opened.manifest.files),
        "bytes": sum(record.bytes for record in opened.manifest.files),
    }
    return _report(path, opened, findings, counted, spans(counts) if findings.worst == 0 else {})


def _check_trial(opened: PoisonSet, trial: OpenTrial, base: Base, findings: Findings) -> Counts | None:
    """Every check of one trial, and its poisons counted; None where a false claim leaves nothing to count."""
    try:
        samples = trial.samples()
    except DamagedError as error:
        findings.add(integrity.damaged("D105", f"trial {trial.number}", error.message))
        return None
    keys = tuple(zip(samples.trials.tolist(), samples.slots.tolist(), strict=True))
    count = len(trial.record.slots.labels)
    seen = Counter(keys)
    row_of = {
        slot: row
        for row, (number, slot) in enumerate(keys)
        if number == trial.number and slot < count and seen[number, slot] == 1
    }
    case = Case(opened, trial, base, keys, samples.images, samples.labels, row_of)
    for code, check in TRIAL_CHECKS.items():
        _collect(partial(check, case), code, f"trial {trial.number}", findings)
    if findings.worst:
        return None
    record = trial.record
    return count_poisons(base.train.labels, record, record.composition, base.poison_classes, case.moved)


def _collect(run: Callable[[], Iterator[Finding]], code: str, place: str, findings: Findings) -> None:
    """Take in what a check yields. A file that it cannot read is damage; a claim it cannot act on is false."""
    try:
        for finding in run():
            findings.add(finding)
    except DamagedError as error:
        findings.add(integrity.damaged("D105", place, error.message))
    except UsageError as error:
        findings.add(Finding(code, "violation", place, error.message))


def _report(
    path: Path,
    opened: PoisonSet | None,
    findings: Findings,
    counted: dict[str, int],
    rates: dict[str, tuple[str, str]],
) -> Report:
    digest = None if opened is None else opened.manifest.content_digest
    return Report(
        path=str(path),
        content_digest=digest,
        findings=tuple(findings.kept),
        total=findings.total,
        checked=counted,
        rates=rates,
        exempt=tuple(trial.number for trial in opened.trials if _exempts(trial)) if opened is not None else (),
        not_checked=NOT_PROVABLE + _not_checked(opened),
        worst=findings.worst,
    )


def _not_checked(opened: PoisonSet | None) -> tuple[str, ...]:
    if opened is None:
        return ()
    setup = opened.manifest.setup
    if isinstance(setup, FileSetup | ForeignSetup):
        return ("that targets and bases are those of the named setup file",)
    numbers = [trial.number for trial in opened.trials]
    unsaid = []
    if isinstance(setup, DrawnSetup) and setup.candidates is not None:
        unsaid.append(
            f"that the attack chose its {setup.poisons} of {setup.candidates} candidates by the rule it names"
        )
    if isinstance(setup, NamedSetup) and len(numbers) < trials_of(setup.name):
        unsaid.append(f"that the trials were not chosen for their outcome: the setup has more than {spelled(numbers)}")
    if isinstance(setup, DrawnSetup) and numbers != list(range(len(numbers))):
        unsaid.append(f"that the trials were not chosen for their outcome: the seed draws more than {spelled(numbers)}")
    return tuple(unsaid)


def _exempts(trial: OpenTrial) -> bool:
    constraint = trial.record.constraint
    return not isinstance(constraint, Unconstrained) and constraint.exempt_trigger
