"""The options of verify: a page, a sample, a setup, the published checker; none changes what is true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poisonsets.cli.reports import tell
from poisonsets.manifests.verification.findings import Finding, Findings, Report

Cli = Callable[..., Any]


def test_html_writes_one_page_and_never_over_another(cli: Cli, lying: Path, here: Path) -> None:
    done = cli("verify", lying, "--html", "page.html")
    assert (done.code, done.err) == (1, "")
    page = (here / "page.html").read_text()
    assert "trial 1 slot 2: V301" in page
    assert page.count("data:image/png;base64,") >= 4
    again = cli("verify", lying, "--html", "page.html")
    assert again.code == 4
    assert "exists already" in again.err
    assert again.out == ""
    inside = cli("verify", lying, "--html", lying / "page.html")
    assert inside.code == 4
    assert "inside the poison set" in inside.err
    assert [path.name for path in here.iterdir()] == ["page.html"]


def test_html_of_a_broken_set_is_a_page_too(cli: Cli, broken: Path, here: Path) -> None:
    assert cli("verify", broken, "--html", "page.html").code == 3
    assert "The set is damaged." in (here / "page.html").read_text()


def test_a_sample_is_said_first_and_the_rest_is_not_checked(cli: Cli, lying: Path) -> None:
    parts = [cli("verify", lying, "--sample", f"{part}/2", "--seed", "3") for part in (1, 2)]
    assert sorted(done.code for done in parts) == [0, 1]
    assert all(done.out.startswith("read: the manifest, all names and sizes, and 1 of 2 trials") for done in parts)
    clean = next(done for done in parts if done.code == 0)
    assert "anything in trials 1, which were not read" in clean.out
    document = cli("verify", lying, "--sample", "1/2", "--seed", "3", "--json").document()
    assert document["checked"]["trials"] == 1
    assert sorted(document["sample"]["trials"] + document["sample"]["unread"]) == [0, 1]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--sample", "3/2"), 2, "no part of a whole"),
        (("--seed", "1"), 2, "--seed goes with --sample"),
        (("--setup", "nothing.json"), 4, "nothing.json"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cli: Cli, honest: Path, here: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    done = cli("verify", honest, *options)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_a_setup_is_compared(cli: Cli, honest: Path, here: Path) -> None:
    manifest = json.loads((honest / "manifest.json").read_bytes())
    trials = [
        {
            "target_index": trial["targets"][0]["index"],
            "target_class": trial["targets"][0]["label"],
            "base_class": trial["adversarial_label"],
            "base_indices": trial["slots"]["bases"],
        }
        for trial in manifest["trials"]
    ]
    setup = here / "setup.json"
    setup.write_text(json.dumps({"format": "poisonset-setups/1", "trials": trials}))
    assert cli("verify", honest, "--setup", setup).code == 0
    setup.write_text(json.dumps({"format": "poisonset-setups/1", "trials": trials[::-1]}))
    done = cli("verify", honest, "--setup", setup)
    assert done.code == 1
    assert "V503 trial 0" in done.out
    assert "V503" in cli("verify", honest, "--setup", "witches-brew-cifar10").out


def test_compat_adds_a_hint_and_nothing_else(cli: Cli, honest: Path, lying: Path) -> None:
    plain, done = (cli("verify", honest, *options) for options in ((), ("--compat",)))
    assert done.code == 0
    said = [line for line in done.out.splitlines() if line not in plain.out.splitlines()]
    assert len(said) == 1
    assert said[0].startswith("hint: H302 the set: the published checker accepts all 2 trials (9 levels,")
    assert cli("verify", lying, "--compat").code == 1


def test_figures_are_part_of_both_reports(cli: Cli, honest: Path) -> None:
    done = cli("verify", honest)
    assert "poisons that differ from their base" in done.out
    assert "SSIM to the base: mean, least" in done.out
    figures = cli("verify", honest, "--json").document()["figures"]
    assert figures["poisons"] == sum(figures["largest"].values()) == 8
    assert figures["worst"][0]["used"].endswith("/8")


def of(*some: Finding) -> Report:
    """The report of these findings."""
    found = Findings()
    for one in some:
        found.add(one)
    return Report("x", None, found.by_code(), {}, {}, (), (), None, None, {})


def test_a_hint_that_many_trials_give_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    hints = tuple(Finding("H202", "idle", trial=n) for n in range(7))
    fault = Finding("V301", "far", trial=2, slot=1)
    tell(of(hints[0], fault, *hints[1:], fault))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[1] == "V301 trial 2 slot 1: far"
    assert lines[2] == "hint: H202 trial 0: idle (and 6 more H202, in trials 0-6)"
    assert lines[3:] == ["x: claims that do not hold, 2 findings"]


def test_of_one_code_ten_findings_are_told_and_the_others_counted(capsys: pytest.CaptureFixture[str]) -> None:
    faults = tuple(Finding("V301", "far", trial=2, slot=n) for n in range(25))
    tell(of(*faults))
    lines = capsys.readouterr().out.splitlines()
    assert lines[9] == "V301 trial 2 slot 9: far (and 15 more V301, in trial 2)"
    assert lines[10:] == ["x: claims that do not hold, 25 findings"]


def test_a_code_is_counted_beyond_what_a_report_holds(capsys: pytest.CaptureFixture[str]) -> None:
    far = (Finding("V301", "far", trial=2, slot=n) for n in range(1500))
    tell(of(*far, Finding("V402", "label", trial=3, slot=1), Finding("V402", "y", part="x")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[9] == "V301 trial 2 slot 9: far (and 1490 more V301, in trial 2)"
    assert lines[10:12] == ["V402 trial 3 slot 1: label", "V402 x: y"]
    assert lines[12:] == ["x: claims that do not hold, 1502 findings"]


def test_a_sample_is_not_called_the_whole(cli: Cli, honest: Path) -> None:
    said = "every claim that bytes can prove holds"
    assert f"{said} in the trials that were read (1 trials" in cli("verify", honest, "--sample", "1/2").out
    assert f"{said} (2 trials" in cli("verify", honest, "--sample", "1/1").out
