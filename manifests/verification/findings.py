"""Findings and the report they make up. Checks yield findings; they raise none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal

from poisonsets.manifests import limits
from poisonsets.manifests.spelling import format_numbers, printable

if TYPE_CHECKING:
    from poisonsets.manifests.verification.figures import Figures
    from poisonsets.manifests.verification.sample import SampleCoverage

FindingKind = Literal["damage", "violation", "hint"]
Verdict = Literal["clean", "false claim", "damaged", "cannot be judged"]
VERDICTS: Final[tuple[Verdict, ...]] = ("clean", "false claim", "damaged", "cannot be judged")
KINDS: Final[dict[str, FindingKind]] = {"D": "damage", "V": "violation", "H": "hint"}
EXIT_CODES: Final[dict[FindingKind, int]] = {"damage": 3, "violation": 1, "hint": 0}
SHOWN: Final = 10
"""Findings of one code that are printed, one per line; of a hint, only the first is."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing; `code` is the check's, `part` a file or another part of the set."""

    code: str
    message: str
    remedy: str = ""
    part: str = ""
    trial: int | None = None
    slot: int | None = None

    @property
    def kind(self) -> FindingKind:
        """`damage`: bytes are not as recorded; `violation`: a claim is false; `hint`: neither."""
        return kind_of(self.code)

    @property
    def place(self) -> str:
        """Where it is, from the outside in: `trial 3 slot 17`."""
        trial = "" if self.trial is None else f"trial {self.trial}"
        slot = "" if self.slot is None else f"slot {self.slot}"
        return " ".join(filter(None, (trial, slot, self.part))) or "the set"

    @property
    def sentence(self) -> str:
        """The message, followed by the remedy if there is one."""
        return f"{self.message}. {self.remedy}" if self.remedy else self.message

    def line(self) -> str:
        """The finding on one line, safe to print: control characters escaped, at most 400 characters."""
        return printable(f"{self.code} {self.place}: {self.sentence}")


def kind_of(code: str) -> FindingKind:
    """The kind of a code's findings, from its first letter."""
    return KINDS[code[0]]


def exit_code(codes: Iterable[str]) -> int:
    """The exit code of the gravest of these codes; 0 if there are none."""
    return max((EXIT_CODES[kind_of(code)] for code in codes), default=0)


@dataclass(frozen=True)
class CodeFindings:
    """The findings of one code.

    Attributes:
        trials: the numbers of the trials that have them, ascending; empty where they concern the whole set.
        first: the first `limits.FINDINGS_KEPT` of the `count` findings.
    """

    code: str
    count: int
    trials: tuple[int, ...]
    first: tuple[Finding, ...]

    @property
    def kind(self) -> FindingKind:
        """Their kind."""
        return kind_of(self.code)

    def lines(self) -> list[str]:
        """The first ones, safe to print; the last line says how many more there are, and in which trials."""
        hint = self.kind == "hint"
        lines = [f"{'hint: ' if hint else ''}{one.line()}" for one in self.first[: 1 if hint else SHOWN]]
        if more := self.count - len(lines):
            trials = f", in trial{'s' * (len(self.trials) > 1)} {format_numbers(self.trials)}" if self.trials else ""
            lines[-1] += printable(f" (and {more} more {self.code}{trials})")
        return lines


class Findings:
    """Counts findings and keeps the first of each code and the trials of all: a hostile set cannot flood the report."""

    def __init__(self) -> None:
        self._first: defaultdict[str, list[Finding]] = defaultdict(list)
        self._trials: defaultdict[str, set[int]] = defaultdict(set)
        self._counts: Counter[str] = Counter()

    def add(self, finding: Finding) -> None:
        """Count a finding and keep it if it is among the first of its code."""
        self._counts[finding.code] += 1
        if finding.trial is not None:
            self._trials[finding.code].add(finding.trial)
        if len(self._first[finding.code]) < limits.FINDINGS_KEPT:
            self._first[finding.code].append(finding)

    def trials_of(self, kind: FindingKind) -> tuple[int, ...]:
        """The numbers, ascending, of the trials that have findings of this kind so far."""
        return tuple(sorted(set().union(*(some for code, some in self._trials.items() if kind_of(code) == kind))))

    @property
    def worst(self) -> int:
        """The exit code of the gravest so far."""
        return exit_code(self._counts)

    def by_code(self) -> tuple[CodeFindings, ...]:
        """All findings so far: damage, then violations, then hints, each sorted by code."""
        found = (
            CodeFindings(code, count, tuple(sorted(self._trials[code])), tuple(self._first[code]))
            for code, count in self._counts.items()
        )
        return tuple(sorted(found, key=lambda one: (-EXIT_CODES[one.kind], one.code)))


def first_of(by_code: Iterable[CodeFindings]) -> tuple[Finding, ...]:
    """The findings that were kept, in the order of their codes."""
    return tuple(finding for code in by_code for finding in code.first)


def record(by_code: tuple[CodeFindings, ...]) -> dict[str, Any]:
    """Findings as JSON: the first of every code, and `counts` of all."""
    return {
        "findings": tuple({"kind": one.kind, "place": one.place, **asdict(one)} for one in first_of(by_code)),
        "counts": tuple({"code": c.code, "kind": c.kind, "count": c.count, "trials": c.trials} for c in by_code),
    }


def verdicts(trials: Iterable[int], judged: Iterable[int], findings: Findings) -> dict[Verdict, tuple[int, ...]]:
    """The trials by verdict, ascending, each under the gravest; verdicts without trials are left out.

    Args:
        trials: the numbers of all that were to be judged.
        judged: those that went through every check; of the others, silence proves nothing.
    """
    damaged, false, seen = set(findings.trials_of("damage")), set(findings.trials_of("violation")), set(judged)
    found: defaultdict[Verdict, list[int]] = defaultdict(list)
    for one in sorted(trials):
        sound: Verdict = "clean" if one in seen else "cannot be judged"
        found["damaged" if one in damaged else "false claim" if one in false else sound].append(one)
    return {verdict: tuple(found[verdict]) for verdict in VERDICTS if verdict in found}


@dataclass(frozen=True)
class Report:
    """The result of a verification.

    Attributes:
        content_digest: None if the manifest could not be read.
        by_code: the findings, the gravest first.
        checked: how many trials, poisons, files and bytes were checked.
        rates: smallest and largest number of poisons over the trials, in the units of `PoisonCounts`: `count` as an
            integer, shares as fractions "a/b"; empty unless every claim holds.
        exempt: trials whose constraint leaves out the pixels under the trigger (V302 checks those instead).
        not_checked: claims that bytes cannot prove, in words.
        figures: how far the poisons moved; None if no trial was judged.
        sample: which part of the set was read; None for all of it.
        plugins: what other packages brought to the verification: `check V901 of their-package 1.5`.
        verdicts: the numbers of the trials that were read, by verdict. Findings of the whole set are no trial's.
    """

    path: str
    content_digest: str | None
    by_code: tuple[CodeFindings, ...]
    checked: dict[str, int]
    rates: dict[str, tuple[str, str]]
    exempt: tuple[int, ...]
    not_checked: tuple[str, ...]
    figures: Figures | None
    sample: SampleCoverage | None
    verdicts: dict[Verdict, tuple[int, ...]]
    plugins: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The first findings of every code."""
        return first_of(self.by_code)

    @property
    def total(self) -> int:
        """The number of findings."""
        return sum(code.count for code in self.by_code)

    @property
    def hints(self) -> int:
        """The number of hints."""
        return sum(code.count for code in self.by_code if code.kind == "hint")

    @property
    def worst(self) -> int:
        """The exit code of the gravest finding."""
        return exit_code(code.code for code in self.by_code)

    @property
    def clean(self) -> bool:
        """Whether there is neither damage nor a false claim, with `sample` in the trials that were read."""
        return self.worst == 0

    @property
    def holding(self) -> str:
        """What a clean report proves, in words; a sample proves it of the trials that were read only."""
        part = " in the trials that were read" if self.sample is not None and self.sample.unread else ""
        return f"every claim that bytes can prove holds{part}"

    def verdict_rows(self) -> tuple[tuple[str, str], ...]:
        """`verdicts` as (verdict, trials) rows for people: ("false claim", "2 trials: 3,7")."""
        return tuple(
            (verdict, f"{len(trials)} trial{'s' * (len(trials) > 1)}: {format_numbers(trials)}")
            for verdict, trials in self.verdicts.items()
        )

    def rates_line(self) -> str:
        """`rates` on one line, shares also as percentages."""
        return ", ".join(f"{name.replace('_', ' ')} {_span(*ends)}" for name, ends in self.rates.items())

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        plain = asdict(self)
        del plain["by_code"]
        counted = {"total": self.total, "hints": self.hints, "worst": self.worst, "clean": self.clean}
        return {"schema_version": 1, **plain, **record(self.by_code), **counted}


def _span(low: str, high: str) -> str:
    return _share(low) if low == high else f"{_share(low)} to {_share(high)}"


def _share(value: str) -> str:
    return f"{value} ({float(Fraction(value)):.3%})" if "/" in value else value
