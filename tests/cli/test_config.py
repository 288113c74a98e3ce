"""Options from a file and from the environment: flag, environment, file, default, in this order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poisonsets.cli.main import run

CONFIG = """
[craft]
base = "digits"
poisons = 3
trials = "0-1"
epsilon = 5
quiet = true

[base.list]
json = true
"""


@pytest.fixture
def config(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    path = tmp_path / "poisonsets.toml"
    path.write_text(CONFIG)
    return str(path)


def levels(folder: Path) -> int:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert [len(trial["slots"]["bases"]) for trial in manifest["trials"]] == [3, 3]
    return int(manifest["trials"][0]["constraint"]["levels"])


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["--config", config, "craft", "noise", "-o", str(tmp_path / "file")]) == 0
    assert levels(tmp_path / "file") == 5
    monkeypatch.setenv("POISONSETS_CRAFT_EPSILON", "6")
    assert run(["--config", config, "craft", "noise", "-o", str(tmp_path / "environment")]) == 0
    assert levels(tmp_path / "environment") == 6
    assert run(["--config", config, "craft", "noise", "--epsilon", "7", "-o", str(tmp_path / "flag")]) == 0
    assert levels(tmp_path / "flag") == 7


def test_a_table_of_a_nested_command_is_read(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", config, "base", "list"]) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("[craft", 2, "not a TOML file"),
        ("[crafty]\n", 2, "[crafty] is no command"),
        ("[craft]\nepsilom = 8\n", 2, "epsilom: no such option"),
        ("[craft]\nepsilon = 7.5\n", 2, "--epsilon 7.5: not a whole number"),
        ("[craft]\nworkers = 'many'\n", 2, "--workers"),
        (None, 4, "no such file"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(
    text: str | None, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.toml"
    if text is not None:
        path.write_text(text)
    out = tmp_path / "out"
    assert run(["--config", str(path), "craft", "noise", "--base", "digits", "-o", str(out)]) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_every_option_has_the_variable_of_its_long_name_and_version_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from poisonsets.cli.config import name_environment
    from poisonsets.cli.main import app

    group = typer.main.get_command(app)
    name_environment(group)
    craft = {one.opts[-1]: one.envvar for one in group.commands["craft"].params}  # type: ignore[attr-defined]
    assert craft["--class-pair"] == "POISONSETS_CRAFT_CLASS_PAIR"
    assert craft["--set"] == "POISONSETS_CRAFT_SET"
    assert craft["--output"] == "POISONSETS_CRAFT_OUTPUT"
    assert all(one.envvar is None for one in group.params)


def test_no_variable_turns_a_command_into_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POISONSETS_VERSION", "1")
    assert run(["verify", str(tmp_path / "nothing")]) == 4
    monkeypatch.setenv("POISONSETS_VERIFY_JSON", "1")
    assert run(["verify", str(tmp_path)]) == 3
    assert json.loads(capsys.readouterr().out)["clean"] is False
