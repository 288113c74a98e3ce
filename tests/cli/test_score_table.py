"""`poisonsets score` as people read it, and what it refuses before it trains anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poisonsets.manifests.spelling import parse_share
from poisonsets.victims.results.summary import METRIC

Cli = Callable[..., Any]
BY_COUNT = ("--protocol", "digits-transfer/convnet@epochs=2")
OWN = ("--protocol", "digits-transfer/convnet@composition=trial,epochs=2")


def test_a_gate_is_an_exact_share() -> None:
    # In floating point 0.07 * 100 is more than 7.
    for n in (100, 300, 700):
        assert 7 * n // 100 >= parse_share("0.07", "--fail-under") * n
        assert 7 * n // 100 - 1 < parse_share("0.07", "--fail-under") * n


def test_the_table_has_everything_a_reader_needs(cli: Cli, honest: Path) -> None:
    done = cli("score", honest, *BY_COUNT, *OWN, "-q")
    assert (done.code, done.err) == (0, "")
    document = cli("score", honest, *BY_COUNT, *OWN, "-q", "--json").document()
    digest = document["rows"][0]["extractor"]
    for fragment in (
        *(digest[:8], "digits 0-4", "black-box", "4 of 500", "4 of 596", "McNemar p", "(1 control)"),
        *("[95 % interval]", "clean control", METRIC),
    ):
        assert fragment in done.out, fragment
    assert len(re.findall(r"[012] of 2\b", done.out)) == 4
    assert len(re.findall(r"[0-9]+[.][0-9] % / [0-9]+[.][0-9] %", done.out)) == 2
    by_count, own = document["summaries"]
    assert (by_count["distinct_controls"], own["distinct_controls"]) == (2, 1)
    assert by_count["mcnemar_p"] is not None
    assert own["mcnemar_p"] is None


def test_another_composition_than_the_sets_is_said(cli: Cli, honest: Path) -> None:
    said = cli("score", honest, *BY_COUNT, "--trials", "0").err
    assert "of 500 images by-count, the set's own rule is in-place" in said
    assert "by-count" not in cli("score", honest, *OWN, "--trials", "0").err
    assert "by-count" not in cli("score", honest, *BY_COUNT, "--trials", "0", "-q").err


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (("--protocol", "digits-transfer/convnet@size=501"), "evenly by 5 classes"),
        (("--protocol", "digits-transfer/convnet@size=5000"), "the base has"),
        (("--protocol", "digits-transfer/convnet@flip=true"), "mirror"),
    ],
    ids=lambda value: str(value[-1]),
)
def test_a_protocol_that_cannot_be_met_is_refused_before_any_training(
    cli: Cli, here: Path, honest: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], fragment: str
) -> None:
    monkeypatch.setattr("poisonsets.door.networks.default_network", lambda *_, **__: pytest.fail("it was trained"))
    cli("score", honest, *options, "-o", "results").refused(2, fragment)
    assert not list(here.iterdir())


def test_images_too_small_to_train_on_are_refused(cli: Cli, here: Path) -> None:
    train = ("train", "--base", "digits@resize=4", "--net", "convnet", "-q", "-o", "w.safetensors")
    cli(*train).refused(2, "4x4")
    assert not list(here.iterdir())


def test_resume_needs_a_folder(cli: Cli, honest: Path) -> None:
    cli("score", honest, *BY_COUNT, "--resume").refused(2, "--resume", "-o")


def test_a_killed_start_is_no_obstacle(cli: Cli, here: Path, honest: Path) -> None:
    (here / "results").mkdir()
    (here / "results" / "settings.json.0123456789ab.tmp").write_bytes(b"{")
    assert cli("score", honest, *BY_COUNT, "--trials", "0", "-q", "-o", "results").code == 0
    assert not list(here.rglob("*.tmp"))


def test_a_diverged_victim_is_refused(cli: Cli, here: Path, honest: Path) -> None:
    wild = "digits-transfer/convnet@learning_rate=100000"
    cli("score", honest, "--protocol", wild, "-q", "-o", "results").refused(1, "trial 0", "diverged", "learning rate")
    assert [path.name for path in (here / "results").rglob("*.json")] == ["settings.json"]


def test_a_set_that_changes_after_it_was_verified_is_refused(
    cli: Cli, honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poisonsets.cli import reports, subjects
    from poisonsets.manifests.verification.findings import Report

    def other(*arguments: Any, **options: Any) -> Report:
        return replace(reports.checked(*arguments, **options), content_digest="0" * 64)

    monkeypatch.setattr(subjects, "checked", other)
    cli("score", honest, *BY_COUNT).refused(3, "verified as 000000000000", "now it is")


def test_the_base_may_be_split_and_resized_as_in_verify(cli: Cli, honest: Path) -> None:
    same = cli("score", honest, *BY_COUNT, "--base", "digits", "--trials", "0", "-q", "--json")
    assert same.code == 0
    other = cli("score", honest, *BY_COUNT, "--base", "digits@resize=12", "--trials", "0", "-q")
    verified = cli("verify", honest, "--base", "digits@resize=12")
    assert other.code == verified.code == 4
    assert other.err == verified.err


def test_a_named_base_is_used_with_the_classes_of_the_set(
    cli: Cli, honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poisonsets.manifests.bases import cache

    plain = cache.open_base

    def all_ten(*arguments: Any, **options: Any) -> Any:
        return replace(plain(*arguments, **options), victim_classes=tuple(range(10)))

    score = ("score", honest, *BY_COUNT, "--base", "digits", "--trials", "0", "-q", "--json")
    wanted = cli(*score).document()["rows"][0]
    monkeypatch.setattr(cache, "open_base", all_ten)
    (row,) = cli(*score).document()["rows"]
    assert (row["job"], row["victim_classes"], row["targets"]) == (wanted["job"], [5, 6, 7, 8, 9], wanted["targets"])
