"""The README is true: its tour runs line by line, and its folders, codes and Python lines are the project's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from poisonsets.cli.main import app, run
from poisonsets.victims import protocols

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
TOUR = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0].splitlines()


def test_the_tour_has_ten_lines_and_every_one_works(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    assert len(TOUR) == 10
    for line in TOUR:
        command, *arguments = shlex.split(line)
        assert command == "poisonsets"
        assert run(arguments) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "targets classified as the adversarial" in " ".join(printed.split())
    assert len(list((tmp_path / "results" / "rows").glob("*.json"))) == 4


def test_the_python_lines_work(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    assert run(["craft", "noise", "--base", "digits", "--trials", "0-1", "-o", "bullseye", "-q"]) == 0
    code = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  the README's own lines
    assert names["data"].images.shape[1:] == (32, 32, 3)


def test_every_folder_and_exit_code_is_named() -> None:
    for folder in ("manifests", "victims", "poisonsets", "cli", "tests", "docs"):
        assert f"`{folder}/`" in README
    codes = README.split("Exit codes:")[1].split("([more]")[0]
    assert re.findall(r"(?:^|,)\s+([0-9]+) [a-z]", codes) == ["0", "1", "2", "3", "4", "70", "130"]


def walk() -> list[tuple[str, list[str]]]:
    """The steps of one image's way, each with the paths it names."""
    listed = README.split("one file a step:")[1].split("One file adds")[0]
    steps = re.findall(r"^[0-9]+\. (.+)$", listed, re.MULTILINE)
    return [(step, re.findall(r"`([a-z_0-9/]+\.py)`", step)) for step in steps]


def test_every_file_on_the_walk_exists() -> None:
    steps = walk()
    assert len(steps) >= 9
    for step, paths in steps:
        assert len(paths) == 1, step
        assert (ROOT / paths[0]).exists(), step
    assert len({path for _, (path,) in steps}) == len(steps)


LEADS = {
    "rounded": "poisonsets/budget.py: def to_levels(",
    "stamped": "manifests/overlay/stamp.py: def stamp(",
    "is decided": "manifests/overlay/compose.py: def compose(",
    "put together": "manifests/overlay/targets.py: def target_images(",
    "The bound": "manifests/verification/checks/constraint.py: def inside_the_ball(",
    "row is written": "victims/results/folder.py: def write(self, row: Row)",
}


@pytest.mark.parametrize(("word", "place"), LEADS.items())
def test_the_walk_leads_to_what_it_says(word: str, place: str) -> None:
    path, definition = place.split(": ", 1)
    assert [paths for step, paths in walk() if word in step] == [[path]]
    assert definition in (ROOT / path).read_text()


def shown(text: str) -> list[str]:
    """The indented `poisonsets` and `make` lines of a page, without their comments."""
    return [line.split(" # ")[0] for line in re.findall(r"^ {4}((?:poisonsets|make) .+)$", text, re.MULTILINE)]


@pytest.mark.parametrize("line", [*shown(README), *shown((ROOT / "docs" / "setups.md").read_text())])
def test_a_command_that_is_only_shown_is_one(line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    command = typer.main.get_command(app)
    while (inner := getattr(command, "commands", None)) is not None:
        command = inner[arguments.pop(0)]
    given = command.make_context("poisonsets", arguments).params
    for one in given.get("protocol") or ():
        protocols.parse(one)
