"""Verdicts: verify and score give an honest, a lying and a broken set three different ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import Draft, forge

Cli = Callable[..., Any]
TWO_EPOCHS = ("--protocol", "digits-transfer/convnet@epochs=2")


def test_an_honest_set_verifies(cli: Cli, honest: Path) -> None:
    done = cli("verify", honest)
    assert (done.code, done.err) == (0, "")
    assert "every claim that bytes can prove holds (2 trials, 8 poisons" in done.out
    assert "not checked: " in done.out
    document = cli("verify", honest, "--json").document()
    assert document["clean"] is True
    assert document["content_digest"] in done.out
    assert document["checked"]["poisons"] == 8


def test_a_lie_is_1_and_names_the_pixel(cli: Cli, lying: Path) -> None:
    done = cli("verify", lying)
    assert (done.code, done.err) == (1, "")
    assert "trial 1 slot 2: pixel (row 3, column 4, channel G)" in done.out
    document = cli("verify", lying, "--json").document()
    assert (document["clean"], document["worst"]) == (False, 1)
    assert {finding["kind"] for finding in document["findings"]} == {"violation"}


def test_damage_is_3_and_names_the_file(cli: Cli, broken: Path) -> None:
    done = cli("verify", broken)
    assert (done.code, done.err) == (3, "")
    assert "poisons/trial-00001-000.tar" in done.out
    document = cli("verify", broken, "--json").document()
    assert (document["clean"], document["worst"]) == (False, 3)


@pytest.mark.parametrize(("name", "code"), [("lying", 1), ("broken", 3)])
def test_what_does_not_verify_is_not_scored(
    cli: Cli, here: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    folder: Path = request.getfixturevalue(name)
    monkeypatch.setattr("poisonsets.victims.scoring.score.score_set", lambda *_, **__: pytest.fail("it was scored"))
    done = cli("score", folder, "-o", "results")
    assert done.code == code
    assert done.err == f"{folder}: nothing was scored, because the set does not verify\n"
    assert "trial" in done.out
    again = cli("score", folder, "-o", "results", "--json")
    assert again.code == code
    assert again.document()["worst"] == code
    assert not list(here.iterdir())


def test_a_set_without_its_manifest_is_damage(cli: Cli, here: Path) -> None:
    (here / "set").mkdir()
    for command in ("verify", "score"):
        done = cli(command, "set")
        assert done.code == 3
        assert "not a finished poison set" in done.out


def test_a_score_is_a_table_or_a_document(cli: Cli, honest: Path) -> None:
    done = cli("score", honest, *TWO_EPOCHS, "-q")
    assert (done.code, done.err) == (0, "")
    assert "targets classified as the adversarial label" in " ".join(done.out.split())
    assert "digits-transfer/convnet@" in done.out
    document = cli("score", honest, *TWO_EPOCHS, "-q", "--json").document()
    assert [row["trial"] for row in document["rows"]] == [0, 1]
    assert len(document["summaries"]) == 1


def test_results_are_not_written_over_and_resume_gives_equal_rows(cli: Cli, honest: Path, here: Path) -> None:
    score = ("score", honest, *TWO_EPOCHS, "-q", "-o", "results")
    first = cli(*score, "--trials", "0", "--json")
    assert first.code == 0
    cli(*score).refused(4, "results: the output folder is not empty", "--resume")
    before = {path: path.read_bytes() for path in here.rglob("*.json")}
    both = cli(*score, "--resume", "--json").document()
    assert [row["trial"] for row in both["rows"]] == [0, 1]
    assert both["rows"][0] == first.document()["rows"][0]
    assert {path: path.read_bytes() for path in before} == before
    assert cli(*score, "--resume", "--json").document() == both
    cli("score", honest, "-q", "-o", "results", "--resume", "--victim-seeds", "0").refused(4, "other settings")


def test_fail_under_is_a_gate(cli: Cli, honest: Path) -> None:
    score = ("score", honest, *TWO_EPOCHS, "-q", "--trials", "0")
    rates = cli(*score, "--json").document()["summaries"]
    assert cli(*score, "--fail-under", "0").code == 0
    successes = cli(*score, "--json").document()["rows"][0]["success"]
    assert len(rates) == 1
    assert cli(*score, "--fail-under", "1").code == (0 if successes else 1)
    cli(*score, "--fail-under", "2").refused(2, "--fail-under 2")
    cli(*score, "--fail-under", "nan").refused(2, "--fail-under nan")


@pytest.mark.parametrize(
    ("options", "code", "fragment"),
    [
        (("--trials", "99"), 2, "trial 99 is not in the set (it has 0-1)"),
        (("--trials", "1-2"), 2, "trial 2 is not in the set"),
        (("--trials", "one"), 2, "--trials one"),
        (("--victim-seeds", "-1"), 2, "--victim-seeds -1"),
        (("--protocol", "nosuch"), 2, "nosuch"),
        (("--protocol", "digits-transfer/convnet@epochs=x"), 2, "epochs=x"),
        (("--suite", "nosuch"), 2, "nosuch"),
        (("--device", "cuda:99"), 4, "cuda:99"),
        (("--extractor", "nosuch.safetensors"), 4, "no such file"),
        (("--base", "cifar10"), 4, "`poisonsets base add cifar10 --download`"),
        (("-o", "/dev/full"), 4, "not a folder"),
    ],
    ids=str,
)
def test_a_score_that_cannot_be_made_is_one_line(
    cli: Cli, here: Path, honest: Path, options: tuple[str, ...], code: int, fragment: str
) -> None:
    cli("score", honest, *options).refused(code, fragment)
    assert not list(here.iterdir())


def test_a_set_whose_base_is_not_to_be_had_says_the_line_to_type(
    cli: Cli, honest: Path, here: Path, tmp_path: Path
) -> None:
    # Digits come with the program, so the set is moved to a machine whose digits are others.
    def edit(draft: Draft) -> None:
        for split in draft.manifest["base"]["splits"].values():
            split["digest"] = "0" * 64

    other = forge(honest, tmp_path / "other", edit)
    for command in ("verify", "score"):
        cli(command, other).refused(4, "is not in the cache", "`poisonsets base add digits`")
    with_base = cli("verify", other, "--base", "digits")
    with_base.refused(4, "Give the base it was made from")
    assert not list(here.iterdir())
