"""The list of checks: docs/checks.md, SPEC.md and the registry have the same codes, and each has a test of its name."""

from __future__ import annotations

import re
from pathlib import Path

import mutants
import pytest

from poisonsets.manifests.interop import import_codes
from poisonsets.manifests.verification import check_registry
from poisonsets.manifests.verification.check_registry import promises
from poisonsets.manifests.verification.checks import integrity
from poisonsets.manifests.verification.findings import Finding, Findings

ROOT = Path(__file__).resolve().parents[3]
PROMISES = {**integrity.CODES, **promises(), **import_codes.CODES}
KINDS = {"D": "damage", "H": "hint", "V": "violation"}


def rows(text: str) -> dict[str, list[str]]:
    found = re.findall(r"^\| `([DHV][0-9]{3})` \| (.*) \|$", text, re.MULTILINE)
    assert len(found) == len({code for code, _ in found})
    return {code: re.split(r" \| ", cells) for code, cells in found}


def test_the_page_has_every_code_with_its_promise() -> None:
    stated = rows((ROOT / "docs" / "checks.md").read_text())
    assert {code: cells[:2] for code, cells in stated.items()} == {
        code: [KINDS[code[0]], promise] for code, promise in PROMISES.items()
    }
    assert all(len(cells) == 4 and all(cells) for cells in stated.values())


def test_the_specification_has_the_same_codes_and_kinds() -> None:
    text = (ROOT / "manifests" / "SPEC.md").read_text()
    section = text.split("## 10. Damage and dishonesty")[1].split("\n## ")[0]
    assert {code: cells[0] for code, cells in rows(section).items()} == {code: KINDS[code[0]] for code in PROMISES}


def test_every_check_has_a_test_of_its_name() -> None:
    """`make mutants` runs them without it."""
    text = "".join(path.read_text() for path in sorted((ROOT / "tests" / "manifests").rglob("test_*.py")))
    lies = re.findall(r'^    \w+: \("(V[0-9]{3})", "', text, re.MULTILINE)  # their names are made of the table
    assert {*lies, *(code.upper() for code in mutants.NAMED.findall(text))} >= set(PROMISES)


@pytest.mark.parametrize("code", ["V301", "V104", "H302", "D103", "V701"])
def test_a_mutant_lacks_one_check_and_is_undone(code: str) -> None:
    def found() -> tuple[list[str], list[str]]:
        findings = Findings()
        findings.add(Finding(code, ""))
        order = [*check_registry.SET_CHECKS, *check_registry.TRIAL_CHECKS, *check_registry.FIGURES_CHECKS]
        return order, [one.code for one in findings.by_code()]

    before = found()
    with mutants.without(code):
        order, kept = found()
        assert (code in order, code in kept) == (False, code in before[0])
    assert found() == before
    assert mutants.codes() == sorted(PROMISES)
