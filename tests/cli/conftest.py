"""The command line in this process: a shared cache, an empty folder, an honest, a lying and a broken set."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forge import Draft, forge
from typed import refuse_unparsed

from poisonsets.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """What one command said and how it ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """Everything on stdout as one JSON document."""
        return json.loads(self.out)

    def refused(self, code: int, *fragments: str) -> None:
        """Assert one line on stderr with these fragments, nothing on stdout, and this exit code."""
        assert (self.code, self.out) == (code, ""), self
        (line,) = self.err.splitlines()
        assert line.startswith("poisonsets: ")
        assert "Traceback" not in line
        for fragment in fragments:
            assert fragment in line
        for command in re.findall("`(poisonsets [^`]*)`", line):
            refuse_unparsed(command)


Cli = Callable[..., Outcome]


def call(*arguments: str | Path) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cli(here: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run one command with the session's cache, in an empty folder."""
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    monkeypatch.delenv("POISONSETS_DEBUG", raising=False)
    return call


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A noise set on digits: trials 0 and 1, four poisons each."""
    folder = tmp_path_factory.mktemp("sets") / "honest"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(cache))
        done = call("craft", "noise", "--base", "digits", "--trials", "0-1", "--poisons", "4", "-o", folder)
    assert (done.code, done.err) == (0, "")
    return folder


@pytest.fixture(scope="session")
def lying(tmp_path_factory: pytest.TempPathFactory, honest: Path) -> Path:
    """The same with one pixel of trial 1, slot 2 far outside its budget, and every hash recomputed."""

    def edit(draft: Draft) -> None:
        draft.images[1][2][3, 4, 1] ^= 128

    return forge(honest, tmp_path_factory.mktemp("sets") / "lying", edit)


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, honest: Path) -> Path:
    """The same with one byte of trial 1's shard flipped."""
    folder = Path(shutil.copytree(honest, tmp_path_factory.mktemp("sets") / "broken"))
    shard = folder / "poisons" / "trial-00001-000.tar"
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    return folder
