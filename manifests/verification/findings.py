"""What a check has to say: a code, a kind, a place, a sentence, a remedy. Checks yield findings, they raise none."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from poisonsets.manifests import limits
from poisonsets.manifests.spelling import printable

if TYPE_CHECKING:
    from poisonsets.manifests.verification.figures import Figures
    from poisonsets.manifests.verification.sample import Sampled

FindingKind = Literal["damage", "violation", "hint"]
EXIT_CODES = {"damage": 3, "violation": 1, "hint": 0}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        code: the check's code, as `poisonsets list checks` shows it.
        kind: `damage`: bytes are not what was recorded; `violation`: a claim is false; `hint`: neither.
        place: where, from the outside in: a file, or `trial 3 slot 17 pixel (row 4, column 29, channel G)`.
        message: what was found and what was wanted.
        remedy: what to do.
        trial, slot: the same place in numbers, where it is one.
    """

    code: str
    kind: FindingKind
    place: str
    message: str
    remedy: str = ""
    trial: int | None = None
    slot: int | None = None

    def line(self) -> str:
        """The finding on one line, safe to print: control characters escaped, at most 400 characters."""
        text = f"{self.code} {self.place}: {self.message}"
        return printable(f"{text}. {self.remedy}" if self.remedy else text)


@dataclass(frozen=True)
class Counted:
    """All findings of one code and kind, those that a report does not hold included.

    Attributes:
        code, kind: as `Finding`.
        count: how many there were.
        trials: the numbers of the trials that have them, ascending; empty where they are of the set.
        first: the first of them.
    """

    code: str
    kind: FindingKind
    count: int
    trials: tuple[int, ...]
    first: Finding


@dataclass(frozen=True)
class Report:
    """The result of a verification.

    Attributes:
        path: the set.
        content_digest: its identity, or None where the manifest could not be read.
        findings: the first findings, in order.
        total: how many there were.
        checked: numbers of what was looked at: trials, poisons, files, bytes.
        rates: how many poisons a trial has, smallest and largest over the trials, in the units of
            `counts.Counts`: `count` as an integer, shares as fractions "a/b"; empty unless every claim holds.
        exempt: the trials whose budget leaves out the pixels under the trigger (V302 checks those instead).
        not_checked: claims that bytes cannot prove, in words.
        worst: the exit code of the gravest finding.
        hints: how many of the findings are hints.
        figures: how far the poisons moved; None where nothing was judged.
        sample: what of the set was read; None where that is all of it.
        counts: every code that has findings, by code: how many there were, and of which trials.
    """

    path: str
    content_digest: str | None
    findings: tuple[Finding, ...]
    total: int
    checked: dict[str, int]
    rates: dict[str, tuple[str, str]]
    exempt: tuple[int, ...]
    not_checked: tuple[str, ...]
    worst: int
    hints: int
    figures: Figures | None
    sample: Sampled | None
    counts: tuple[Counted, ...]

    @property
    def clean(self) -> bool:
        """Whether neither damage nor a false claim was found; with `sample` that is of the trials that were read."""
        return self.worst == 0

    @property
    def holding(self) -> str:
        """What may be said of a clean set, in words: of a sample no more than of the trials that were read."""
        part = " in the trials that were read" if self.sample is not None and self.sample.unread else ""
        return f"every claim that bytes can prove holds{part}"

    def rates_line(self) -> str:
        """`rates` on one line for people, a share also as a percentage."""
        return ", ".join(f"{name.replace('_', ' ')} {_span(*ends)}" for name, ends in self.rates.items())

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {"schema_version": 1, **asdict(self), "clean": self.clean}


@dataclass
class Findings:
    """Collects findings, keeps the first ones and counts them all, so that a hostile set cannot flood anyone.

    Of those that are not kept, code, kind and trial are: as many numbers at most as codes times trials. Hints give way
    to graver findings, so that they cannot hide one either.
    """

    kept: list[Finding] = field(default_factory=list)
    total: int = 0
    worst: int = 0
    hints: int = 0
    _hints_kept: int = 0
    _first: dict[tuple[str, FindingKind], Finding] = field(default_factory=dict)
    _counts: Counter[tuple[str, FindingKind]] = field(default_factory=Counter)
    _trials: dict[tuple[str, FindingKind], set[int]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Take a finding in."""
        self.total += 1
        self._count(finding)
        self.worst = max(self.worst, EXIT_CODES[finding.kind])
        is_hint = finding.kind == "hint"
        self.hints += is_hint
        if len(self.kept) == limits.FINDINGS_KEPT and self._hints_kept and not is_hint:
            last = next(i for i in range(len(self.kept) - 1, -1, -1) if self.kept[i].kind == "hint")
            del self.kept[last]
            self._hints_kept -= 1
        if len(self.kept) < limits.FINDINGS_KEPT:
            self.kept.append(finding)
            self._hints_kept += is_hint

    def counts(self) -> tuple[Counted, ...]:
        """How many there are of each code and kind, and of which trials, whether kept or not; by code."""
        return tuple(
            Counted(code, kind, self._counts[code, kind], tuple(sorted(self._trials[code, kind])), first)
            for (code, kind), first in sorted(self._first.items(), key=lambda item: item[0])
        )

    def _count(self, finding: Finding) -> None:
        key = finding.code, finding.kind
        self._first.setdefault(key, finding)
        self._counts[key] += 1
        trials = self._trials.setdefault(key, set())
        if finding.trial is not None:
            trials.add(finding.trial)


def _span(low: str, high: str) -> str:
    return _share(low) if low == high else f"{_share(low)} to {_share(high)}"


def _share(value: str) -> str:
    return f"{value} ({float(Fraction(value)):.3%})" if "/" in value else value
