"""`make mutants`: each check is taken out in turn, and the tests named after its code must fail.

    python tests/mutants.py [CODE ...]

A test is named after a check where its id has the code in lower case as a word: `test_v301_...`, `test_x[v301_...]`.
All runs share this process. A registered check is taken out of its registry; of damage and of imports, which are found
while files are read, the findings are dropped. The exit code is 1 where a mutant survives or a check has no test.
"""

# ruff: noqa: T201  a program for people

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"(?<![a-z0-9])[dhv][0-9]{3}(?![0-9])")
FOLDER = "tests/manifests"


class Collector:
    """A pytest plugin that remembers the tests named after each code."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for code in set(NAMED.findall(item.nodeid.rpartition("::")[2])):
                self.tests.setdefault(code.upper(), []).append(item.nodeid)


@contextlib.contextmanager
def without(code: str) -> Iterator[None]:
    """The project as if it had no such check."""
    from poisonsets.manifests.verification import check_registry
    from poisonsets.manifests.verification.findings import Finding, Findings

    for registry in (check_registry.SET_CHECKS, check_registry.TRIAL_CHECKS, check_registry.FIGURES_CHECKS):
        if code in registry:
            kept = dict(registry)
            del registry[code]
            try:
                yield
            finally:
                registry.clear()  # type: ignore[attr-defined]
                registry.update(kept)  # type: ignore[arg-type]
            return
    add = Findings.add

    def deaf(self: Findings, finding: Finding) -> None:
        if finding.code != code:
            add(self, finding)

    Findings.add = deaf  # type: ignore[method-assign]
    try:
        yield
    finally:
        Findings.add = add  # type: ignore[method-assign]


def run(*arguments: str, plugins: tuple[object, ...] = ()) -> tuple[int, str]:
    """One run of pytest in this process: its exit code and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *arguments], plugins=list(plugins))
    return int(code), printed.getvalue()


def codes() -> list[str]:
    """Every code that there is."""
    from poisonsets.manifests.interop import import_codes
    from poisonsets.manifests.verification.check_registry import promises
    from poisonsets.manifests.verification.checks import integrity

    return sorted({*integrity.CODES, *promises(), *import_codes.CODES})


def main(chosen: list[str]) -> int:
    """Run every mutant and say which lived."""
    collector = Collector()
    collected, printed = run("--collect-only", FOLDER, plugins=(collector,))
    if collected:
        print(printed)
        return 2
    wanted = chosen or codes()
    every = sorted({test for code in wanted for test in collector.tests.get(code, [])})
    sound, printed = run(*every)
    if sound:
        print(printed, "the tests fail without any mutant", sep="\n")
        return 2
    survivors = []
    for code in wanted:
        tests, started = collector.tests.get(code, []), time.monotonic()
        with without(code):
            result = run("-x", *tests)[0] if tests else 5
        verdict = {0: "SURVIVED", 1: "found", 5: "NO TEST"}.get(result, f"pytest exit code {result}")
        survivors += [] if result == 1 else [code]
        print(f"{code} {verdict:10} {len(tests):4} tests {time.monotonic() - started:5.1f} s", flush=True)
    print(f"{len(wanted) - len(survivors)} of {len(wanted)} mutants found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    sys.exit(main(sys.argv[1:]))
