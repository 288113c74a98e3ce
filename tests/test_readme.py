"""The README is true: its tour runs line by line, and its folders, codes and Python lines are the project's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from poisonsets.cli.main import run

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
    codes = re.findall(r"^\| ([0-9]+) \|", README, re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "4", "70", "130"]


def test_every_file_on_the_walk_exists() -> None:
    walk = README.split("To walk one image")[1].split("How to add")[0]
    paths = re.findall(r"`([a-z_/]+(?:\.py)?)`", walk)
    assert len(paths) >= 9
    for path in paths:
        assert (ROOT / path).exists(), path
