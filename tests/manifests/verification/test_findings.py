"""Counts of findings: of all that a check yields, by code and trial, however few of them a report holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from forge import Draft, check, forge, small_set

from poisonsets.cli.reports import tell
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.verification.findings import CodeFindings, Finding, Findings


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report holds three findings of a code."""
    monkeypatch.setattr("poisonsets.manifests.limits.FINDINGS_KEPT", 3)


def inverted(draft: Draft) -> None:
    """Far from their bases: all poisons of all trials but the first; of the last, labels lie too."""
    for number, images in draft.images.items():
        images[:] = images if number == 0 else [255 - image for image in images]
    draft.labels[4][:] = [(label + 1) % 3 for label in draft.labels[4]]


@pytest.mark.usefixtures("few")
def test_a_line_names_every_trial_that_has_a_finding(
    tmp_path: Path, base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check(forge(small_set(tmp_path / "set", base, trials=5), tmp_path / "forged", inverted), base)
    assert {(one.code, one.trial) for one in report.findings if one.code == "V301"} == {("V301", 1)}
    counts = {one.code: (one.count, one.trials) for one in report.by_code}
    assert counts["V301"] == (16, (1, 2, 3, 4))
    assert counts["V202"] == (4, (4,))
    assert sum(one.count for one in report.by_code) == report.total
    lines = {one.code: one.lines() for one in report.by_code}
    assert lines["V301"][0].startswith("V301 trial 1 slot 0: pixel")
    assert lines["V202"][0].startswith("V202 trial 4 slot 0: label")
    tell(report)
    told = capsys.readouterr().out
    assert "(and 13 more V301, in trials 1-4)" in told
    assert "(and 1 more V202, in trial 4)" in told
    assert "more findings" not in told


@pytest.mark.usefixtures("few")
def test_counts_are_of_all_and_hold_the_first() -> None:
    findings = Findings()
    given = [Finding("V301", "far", trial=n // 5, slot=n % 5) for n in range(20)]
    given.insert(7, Finding("H101", "renamed", part="manifest.json"))
    for one in given:
        findings.add(one)
    assert findings.by_code() == (
        CodeFindings("V301", 20, (0, 1, 2, 3), tuple(given[:3])),
        CodeFindings("H101", 1, (), (given[7],)),
    )


def test_a_trial_is_a_number_and_not_what_a_place_is_called() -> None:
    findings = Findings()
    findings.add(Finding("D104", "a file that the manifest does not list", part="trial 7 of mine.txt"))
    assert [(one.trials, one.first[0].place) for one in findings.by_code()] == [((), "trial 7 of mine.txt")]
