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
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.findings import Finding, Findings, Report
from poisonsets.manifests.model import BasePin, DrawnSetup
from poisonsets.manifests.reader import OpenTrial, PoisonSet, open_set

NOT_PROVABLE = (
    "that the named attack, settings and seed made these pixels",
    "that the attacker knew no more than the listed surrogates",
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
    try:
        opened = open_set(path)
    except DamagedError as error:
        findings.add(integrity.damaged("D101", "manifest.json", error.message))
        return _report(path, None, findings, {})
    for finding in integrity.check_files(opened):
        findings.add(finding)
    if findings.worst == 0:
        base = find_base(opened.manifest.base)
        opened.check_base(base)
        for check_set in SET_CHECKS.values():
            _collect(partial(check_set, opened, base), "the set", findings)
        for done, trial in enumerate(opened.trials):
            _check_trial(opened, trial, base, findings)
            if progress is not None:
                progress(done + 1, len(opened.trials))
    counted = {
        "trials": len(opened.trials),
        "poisons": sum(len(trial.record.slots.labels) for trial in opened.trials),
        "files": len(opened.manifest.files),
        "bytes": sum(record.bytes for record in opened.manifest.files),
    }
    return _report(path, opened, findings, counted)


def _check_trial(opened: PoisonSet, trial: OpenTrial, base: Base, findings: Findings) -> None:
    try:
        samples = trial.samples()
    except DamagedError as error:
        findings.add(integrity.damaged("D105", f"trial {trial.number}", error.message))
        return
    keys = tuple(zip(samples.trials.tolist(), samples.slots.tolist(), strict=True))
    count = len(trial.record.slots.labels)
    seen = Counter(keys)
    row_of = {
        slot: row
        for row, (number, slot) in enumerate(keys)
        if number == trial.number and slot < count and seen[number, slot] == 1
    }
    case = Case(opened, trial, base, keys, samples.images, samples.labels, row_of)
    for check in TRIAL_CHECKS.values():
        _collect(partial(check, case), f"trial {trial.number}", findings)


def _collect(run: Callable[[], Iterator[Finding]], place: str, findings: Findings) -> None:
    """Take in what a check yields; a file that it cannot read is damage at its place."""
    try:
        for finding in run():
            findings.add(finding)
    except DamagedError as error:
        findings.add(integrity.damaged("D105", place, error.message))


def _report(path: Path, opened: PoisonSet | None, findings: Findings, counted: dict[str, int]) -> Report:
    not_checked = list(NOT_PROVABLE)
    if opened is not None and not isinstance(opened.manifest.setup, DrawnSetup):
        not_checked.append("that targets and bases are those of the named setup file")
    digest = None if opened is None else opened.manifest.content_digest
    return Report(str(path), digest, tuple(findings.kept), findings.total, counted, tuple(not_checked), findings.worst)
