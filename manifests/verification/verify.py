"""Verify a poison set: recompute every claim that its bytes can prove, and list those they cannot.

Integrity comes first; trials whose shards are damaged are not judged, the others are. Nothing here imports torch, runs
code from the set, or writes a file.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, UnsupportedError, UsageError
from poisonsets.manifests.overlay.poison_counts import PoisonCounts, count_poisons, spans
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.origin import DrawnSetup, FileSetup, ForeignSetup, NamedSetup
from poisonsets.manifests.sets.reader import OpenTrial, PoisonSet, open_set
from poisonsets.manifests.sets.shard import Samples
from poisonsets.manifests.sets.writer import MANIFEST
from poisonsets.manifests.spelling import format_numbers
from poisonsets.manifests.trials.published import PublishedSetup, trials_of
from poisonsets.manifests.verification.check_registry import FIGURES_CHECKS, SET_CHECKS, TRIAL_CHECKS, modules
from poisonsets.manifests.verification.checks import integrity
from poisonsets.manifests.verification.findings import Finding, Findings, Report, kind_of, verdicts
from poisonsets.manifests.verification.sample import Sample, SampleCoverage
from poisonsets.manifests.verification.subjects import CheckedSet, CheckedTrial, exempts_trigger
from poisonsets.manifests.verification.tally import Tally
from poisonsets.manifests.workers import Progress, silent

NOT_PROVABLE = (
    "that the named attack, settings and seed made these pixels",
    "that the attacker knew no more than the listed surrogates, and how those were trained",
    "that the seed was not chosen among many, and the words of the card",
)


def verify(
    path: Path,
    find_base: Callable[[BasePin], Base],
    progress: Progress = silent,
    *,
    setup: PublishedSetup | None = None,
    sample: Sample | None = None,
    compat: bool = False,
) -> Report:
    """Check a poison set.

    Args:
        find_base: gives the base dataset that a manifest pins, or raises MissingError or DamagedError.
        progress: called with (trials done, trials in all).
        setup: compare the trials with this setup too.
        sample: read and judge these trials only; of the others, check the files' names and sizes.
        compat: add the verdict of the published benchmark's checker.

    Raises:
        MissingError: there is no such folder, or no such base and nothing is damaged.
        DamagedError: likewise, as `find_base`; what is damaged in the set is a finding.
    """
    judged = _Judged()
    try:
        opened = open_set(path)
    except DamagedError as error:
        code, remedy = ("D107", error.remedy) if isinstance(error, UnsupportedError) else ("D101", integrity.REMEDY)
        judged.findings.add(Finding(code, error.message, remedy, part=MANIFEST))
        return _report(path, None, judged, (), None, setup)
    trials, sampled = _chosen(opened, sample)
    for finding in integrity.check_files(opened, unread=_shards(opened, sampled)):
        judged.findings.add(finding)
    base = _base(opened, find_base, judged.findings)
    if base is not None:
        checked = CheckedSet(opened, base, setup)
        for code, check_set in SET_CHECKS.items():
            _collect(partial(check_set, checked), code, None, judged.findings)
        damaged = set(judged.findings.trials_of("damage"))
        for done, trial in enumerate(trials):
            if trial.number not in damaged:
                _check_trial(checked, trial, judged)
            progress(done + 1, len(trials))
        for code, check_figures in FIGURES_CHECKS.items() if compat else ():
            _collect(partial(check_figures, judged.tally.figures()), code, None, judged.findings)
    return _report(path, opened, judged, trials, sampled, setup)


@dataclass
class _Judged:
    """What has been found so far; `trials` went through every check."""

    findings: Findings = field(default_factory=Findings)
    counts: list[PoisonCounts] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    trials: list[int] = field(default_factory=list)


def _base(opened: PoisonSet, find_base: Callable[[BasePin], Base], findings: Findings) -> Base | None:
    """The set's base; None where it cannot be had and damage has been found, which must not be lost with it."""
    try:
        return find_base(opened.manifest.base).as_pinned(opened.manifest.base)
    except (DamagedError, MissingError):
        if findings.worst == 0:
            raise
        return None


def _chosen(opened: PoisonSet, sample: Sample | None) -> tuple[tuple[OpenTrial, ...], SampleCoverage | None]:
    """The trials to read, and what the report says of a sample."""
    if sample is None:
        return opened.trials, None
    numbers = [trial.number for trial in opened.trials]
    read = sample.chosen(numbers)
    unread = tuple(sorted(set(numbers) - set(read)))
    return tuple(map(opened.trial, read)), SampleCoverage(sample.part, sample.parts, sample.seed, read, unread)


def _shards(opened: PoisonSet, sampled: SampleCoverage | None) -> frozenset[str]:
    """The shards of the trials that are not read."""
    unread = () if sampled is None else sampled.unread
    return frozenset(path for number in unread for path in opened.trial(number).shards())


def _check_trial(checked: CheckedSet, trial: OpenTrial, judged: _Judged) -> None:
    """Run every check of one trial, measure its poisons if that is possible, and count them if every claim holds."""
    findings = judged.findings
    try:
        samples = trial.samples()
    except DamagedError as error:
        findings.add(Finding("D105", error.message, integrity.REMEDY, trial=trial.number))
        return
    if samples.images.shape[1:] != checked.base.train.images.shape[1:]:
        return  # V104 has reported the declared sizes; there is nothing to compare
    base, checked_trial = checked.base, _checked_trial(checked, trial, samples)
    for code, check in TRIAL_CHECKS.items():
        _collect(partial(check, checked_trial), code, trial.number, findings)
    judged.trials.append(trial.number)
    with suppress(DamagedError, UsageError):  # the checks have reported the trigger
        judged.tally.add(checked_trial)
    if findings.worst == 0:
        record, moved = trial.record, checked_trial.moved
        judged.counts.append(count_poisons(base.train.labels, record, record.composition, base.victim_classes, moved))


def _checked_trial(checked: CheckedSet, trial: OpenTrial, samples: Samples) -> CheckedTrial:
    keys = tuple(zip(samples.trials.tolist(), samples.slots.tolist(), strict=True))
    declared, seen = {(trial.number, slot) for slot in range(len(trial.record.slots.labels))}, Counter(keys)
    row_of = {key[1]: row for row, key in enumerate(keys) if key in declared and seen[key] == 1}
    return CheckedTrial(checked, trial, keys, samples.images, samples.labels, row_of)


def _collect(run: Callable[[], Iterator[Finding]], code: str, trial: int | None, findings: Findings) -> None:
    """Add what a check of a trial, or of the whole set, yields.

    A file that it cannot read is damage; a claim that it cannot act on is false.
    """
    try:
        for finding in run():
            findings.add(finding)
    except DamagedError as error:
        findings.add(Finding("D105", error.message, integrity.REMEDY, trial=trial))
    except UsageError as error:
        if kind_of(code) != "hint":  # a hint is no claim, and the check of the claim reports the same
            findings.add(Finding(code, error.message, trial=trial))
    except Exception as error:
        module = modules()[code]
        if module.partition(".")[0] == __name__.partition(".")[0]:
            raise
        message = f"check {code} of {module} raised {type(error).__name__}: {error}"
        raise MissingError(message, "Leave out --plugins, or repair or uninstall the package it comes with") from error


def _report(
    path: Path,
    opened: PoisonSet | None,
    judged: _Judged,
    trials: tuple[OpenTrial, ...],
    sampled: SampleCoverage | None,
    setup: PublishedSetup | None,
) -> Report:
    return Report(
        path=str(path),
        content_digest=None if opened is None else opened.manifest.content_digest,
        by_code=judged.findings.by_code(),
        checked={} if opened is None else _counted(opened, trials, _shards(opened, sampled)),
        rates=spans(judged.counts) if judged.findings.worst == 0 else {},
        exempt=tuple(trial.number for trial in trials if exempts_trigger(trial.record)),
        not_checked=NOT_PROVABLE + _not_checked(opened, sampled, setup),
        figures=judged.tally.figures() if judged.trials else None,
        sample=sampled,
        verdicts=verdicts([trial.number for trial in trials], judged.trials, judged.findings),
    )


def _counted(opened: PoisonSet, trials: tuple[OpenTrial, ...], unread: frozenset[str]) -> dict[str, int]:
    files = [record for record in opened.manifest.files if record.path not in unread]
    return {
        "trials": len(trials),
        "poisons": sum(len(trial.record.slots.labels) for trial in trials),
        "files": len(files),
        "bytes": sum(record.bytes for record in files),
    }


def _not_checked(
    opened: PoisonSet | None, sampled: SampleCoverage | None, compared: PublishedSetup | None
) -> tuple[str, ...]:
    """What was not checked of this set in particular, in words."""
    if opened is None:
        return ()
    setup, unsaid = opened.manifest.setup, []
    if sampled is not None and sampled.unread:
        unsaid.append(f"anything in trials {format_numbers(sampled.unread)}, which were not read")
    if isinstance(setup, FileSetup | ForeignSetup):
        if compared is None:
            unsaid.append("that targets and bases are those of the named setup file")
        return tuple(unsaid)
    numbers = [trial.number for trial in opened.trials]
    if isinstance(setup, DrawnSetup) and setup.candidates is not None:
        unsaid.append(
            f"that the attack chose its {setup.poisons} of {setup.candidates} candidates by the rule it names"
        )
    more = ""
    if isinstance(setup, NamedSetup) and len(numbers) < trials_of(setup.name):
        more = "the setup has more"
    elif isinstance(setup, DrawnSetup) and numbers != list(range(len(numbers))):
        more = "the seed draws more"
    if more:
        unsaid.append(f"that the trials were not chosen for their outcome: {more} than {format_numbers(numbers)}")
    return tuple(unsaid)
