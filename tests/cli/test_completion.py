"""Shells are taught the command line: its commands, its options, and the names that values may have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def offered(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What bash is offered for the last word of a line."""

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("_POISONSETS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        done = cli()
        assert (done.code, done.err) == (0, "")
        return str(done.out).split()

    return complete


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("poisonsets cr", "craft"),
        ("poisonsets craft --class", "--class-pair"),
        ("poisonsets craft bulls", "bullseye-polytope"),
        ("poisonsets craft noise --preset di", "digits"),
        ("poisonsets craft noise --trigger squ", "square"),
        ("poisonsets craft noise --setup wit", "witches-brew-cifar10"),
        ("poisonsets craft noise --composition sup", "supplant"),
        ("poisonsets craft noise --base dig", "digits"),
        ("poisonsets train --net resnet1", "resnet18"),
        ("poisonsets score a-set --suite cifar10-t", "cifar10-transfer"),
        ("poisonsets score a-set --protocol cifar10-scratch/v", "cifar10-scratch/vgg11"),
        ("poisonsets import tri", "triple"),
        ("poisonsets export a-set --to webd", "webdataset"),
        ("poisonsets list trig", "triggers"),
        ("poisonsets base remove dig", "digits"),
    ],
)
def test_a_value_is_completed(offered: Callable[[str], list[str]], line: str, wanted: str) -> None:
    found = offered(line)
    assert wanted in found
    assert all(one.startswith(line.rpartition(" ")[2]) for one in found)


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_a_shell_is_taught_by_an_option(tmp_path: Path, option: str) -> None:
    environment = dict(os.environ, HOME=str(tmp_path))
    command = ["bash", "-c", f"{sys.executable} -m poisonsets {option}; exit $?"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    script = (
        done.stdout if option == "--show-completion" else (tmp_path / ".bash_completions/poisonsets.sh").read_text()
    )
    assert "complete -o default -F _poisonsets_completion poisonsets" in script
