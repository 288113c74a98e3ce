"""Verify a poison set: recompute from its bytes every claim that bytes can prove, and list those they cannot.

Integrity comes first; a set that is damaged is not judged further. Nothing here imports torch, runs anything from
the set, or writes a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from poisonsets.manifests import identity
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.checks import CHECKS, Case, integrity
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.findings import Finding, Findings, Report
from poisonsets.manifests.model import BasePin, DrawnSetup
from poisonsets.manifests.reader import OpenTrial, PoisonSet, open_set
from poisonsets.manifests.stamp import picture_digest

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
        _check_whole(opened, findings)
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


def _check_whole(opened: PoisonSet, findings: Findings) -> None:
    found = identity.digest_of(opened.manifest)
    if found != opened.manifest.content_digest:
        findings.add(
            Finding(
                "V101",
                "violation",
                "manifest.json",
                f"content digest {found[:12]}..., declared {opened.manifest.content_digest[:12]}...",
            )
        )
    for name in sorted(opened.manifest.triggers):
        _check_pictures(opened, name, findings)
    known = {path for trial in opened.trials for path in opened.shards_of(trial.number)}
    for record in opened.manifest.files:
        if record.path.startswith("poisons/") and record.path not in known:
            findings.add(Finding("V102", "violation", record.path, "a shard of no declared trial"))


def _check_pictures(opened: PoisonSet, name: str, findings: Findings) -> None:
    try:
        trigger = opened.trigger(name)
    except DamagedError as error:
        findings.add(integrity.damaged("D105", f"trigger {name}", error.message))
        return
    for path, picture in trigger.pictures().items():
        if picture_digest(picture) != opened.manifest.trigger_pixels.get(path):
            findings.add(Finding("V103", "violation", path, "the picture's pixels are not those declared"))


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
    for entry in CHECKS.values():
        try:
            for finding in entry.run(case):
                findings.add(finding)
        except DamagedError as error:
            findings.add(integrity.damaged("D105", f"trial {trial.number}", error.message))


def _report(path: Path, opened: PoisonSet | None, findings: Findings, counted: dict[str, int]) -> Report:
    not_checked = list(NOT_PROVABLE)
    if opened is not None and not isinstance(opened.manifest.setup, DrawnSetup):
        not_checked.append("that targets and bases are those of the named setup file")
    digest = None if opened is None else opened.manifest.content_digest
    return Report(str(path), digest, tuple(findings.kept), findings.total, counted, tuple(not_checked), findings.worst)
