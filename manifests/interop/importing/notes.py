"""What is odd about many trials, told on one screen: equal remarks share a line, the gravest stand first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from poisonsets.manifests.interop.format import Remark
from poisonsets.manifests.spelling import printable, spelled
from poisonsets.manifests.verification.findings import EXIT_CODES, Counted, FindingKind


@dataclass(frozen=True)
class Grouped:
    """One oddity and the trials that have it.

    Attributes:
        kind, text: as `Remark`.
        trials: their numbers, ascending; empty where it is said of the set.
    """

    kind: FindingKind
    text: str
    trials: tuple[int, ...]

    def line(self) -> str:
        """On one line, safe to print: `trials 3,17,40-42: 24 poisons for 25 base indices`."""
        if not self.trials:
            return printable(self.text)
        return printable(f"trial{'s' if len(self.trials) > 1 else ''} {spelled(self.trials)}: {self.text}")

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": self.kind, "trials": list(self.trials), "message": printable(self.text)}


def grouped(remarks: Mapping[int, Iterable[Remark]]) -> tuple[Grouped, ...]:
    """The remarks on each trial, equal ones together: damage first, then what keeps a trial out, then hints."""
    trials: dict[Remark, list[int]] = {}
    for number, some in sorted(remarks.items()):
        for one in dict.fromkeys(some):
            trials.setdefault(one, []).append(number)
    found = [Grouped(one.kind, one.text, tuple(numbers)) for one, numbers in trials.items()]
    return tuple(sorted(found, key=lambda one: (-EXIT_CODES[one.kind], -len(one.trials))))


def of_findings(counts: Iterable[Counted]) -> tuple[Grouped, ...]:
    """What `verify` found, a line a code: every trial that has it, how many findings, and the first in full.

    Args:
        counts: those of its `Report`, which are of all findings; the report itself holds the first ones only.
    """
    lines = []
    for one in counts:
        count = "" if one.count == 1 else f"{one.count} findings, the first: "
        lines.append(Grouped(one.kind, f"{one.code} {count}{one.first.place}: {one.first.message}", one.trials))
    return tuple(lines)


def gravest(found: Iterable[Grouped]) -> int:
    """The exit code of the gravest: 3 for damage, 1 for a violation, else 0."""
    return max((EXIT_CODES[one.kind] for one in found), default=0)
