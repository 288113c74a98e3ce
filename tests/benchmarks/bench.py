"""`make bench`: every speed this project claims, measured beside the plain version of the same work.

    python tests/benchmarks/bench.py [-o bench.json] [NAME ...]

Writes a list of {case, ours, plain, unit, ratio, goal, holds, note}. Both sides run in this process on the same
inputs, on one thread, in CPU seconds; the best of `ROUNDS` interleaved runs counts. Not a test: the suite checks
results, this checks ratios.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """One speed claim.

    Attributes:
        name: what is compared.
        ours, plain: both sides; called with nothing, their result is thrown away.
        unit: of the figures, `CPU s` unless `measure` says otherwise.
        goal: the ratio plain / ours that must be reached.
        note: what the plain side is, and what was scaled.
        scale: the plain side's figure times this, where it was measured on one of `scale` trials.
        measure: from a side to its figure; CPU seconds where it is None.
    """

    name: str
    ours: Callable[[], object]
    plain: Callable[[], object]
    unit: str
    goal: float
    note: str = ""
    scale: float = 1.0
    measure: Callable[[Callable[[], object]], float] | None = None


def cpu_seconds(side: Callable[[], object]) -> float:
    """The CPU time that one call takes in this process."""
    started = time.process_time()
    side()
    return time.process_time() - started


def measured(case: Case) -> dict[str, Any]:
    """A case's entry of bench.json."""
    measure = case.measure or cpu_seconds
    pairs = [(measure(case.ours), measure(case.plain)) for _ in range(ROUNDS)]
    ours, plain = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs) * case.scale
    ratio = plain / ours
    return {
        "case": case.name,
        "ours": round(ours, 4),
        "plain": round(plain, 4),
        "unit": case.unit,
        "ratio": round(ratio, 2),
        "goal": round(case.goal, 3),
        "holds": ratio >= case.goal,
        "note": case.note,
    }


def all_cases() -> Iterator[Case]:
    """The cases of every case_*.py beside this file."""
    for path in sorted(Path(__file__).parent.glob("case_*.py")):
        yield from importlib.import_module(f"benchmarks.{path.stem}").cases()


def main() -> int:
    """Run the cases, print a table, write the file; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("bench.json"))
    parser.add_argument("names", nargs="*", help="only cases whose name contains one of these")
    given = parser.parse_args()
    # Both: beside tests/poisonsets, which is no package, the real one has to be found.
    sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (2, 1)]
    import torch

    torch.set_num_threads(1)
    module = importlib.import_module("benchmarks.bench")
    entries = []
    for case in module.all_cases():
        if given.names and not any(name in case.name for name in given.names):
            continue
        entries.append(measured(case))
        one = entries[-1]
        verdict = "" if one["holds"] else "  MISSED"
        print(
            f"{one['case']:44} {one['ours']:>11} {one['plain']:>11} {one['unit']:7} "
            f"{one['ratio']:>8}x  goal {one['goal']}x{verdict}",
            flush=True,
        )
    given.output.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return 0 if all(entry["holds"] for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
