"""Every file of the corpus ends, in every way it is offered, as `expected.json` says: at once, and running nothing.

The corpus is written by `make.py`; its honest files are accepted in every way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import judging, judging_victims, make
from hostile.script import run_script

HERE = Path(__file__).resolve().parent
WAYS = judging.WAYS | judging_victims.WAYS
EXPECTED: dict[str, dict[str, list[str]]] = json.loads((HERE / "expected.json").read_text())
SECONDS = 2.0
MARK = "poisonsets-was-here"


def cases() -> Iterator[tuple[str, str, str]]:
    """Each way, file and expected end."""
    for way, ends in EXPECTED.items():
        for end, names in ends.items():
            yield from ((way, name, end) for name in names)


def named(folder: str) -> dict[str, Path]:
    return {path.stem if path.is_file() else path.name: path for path in judging.offered(folder)}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, where anything that ran would leave its mark."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def by_file() -> dict[str, list[tuple[str, Path, str]]]:
    """By file of the corpus: each way it is offered, and how that ends."""
    found: dict[str, list[tuple[str, Path, str]]] = {}
    files = {folder: named(folder) for folder, _, _ in WAYS.values()}
    for way, name, end in cases():
        folder = WAYS[way][0]
        found.setdefault(f"{folder}/{name}", []).append((way, files[folder][name], end))
    return found


FILES = by_file()


@pytest.mark.parametrize("file", FILES)
def test_a_hostile_file_is_refused_at_once(tmp_path: Path, elsewhere: Path, file: str) -> None:
    for way, path, end in FILES[file]:
        scratch = tmp_path / way
        scratch.mkdir()
        began = time.process_time()
        verdict = WAYS[way][2](path, scratch)
        assert time.process_time() - began < SECONDS, way
        assert verdict.is_the(end), f"{way}: {verdict}"
        assert "Traceback" not in verdict.words
        assert not list(elsewhere.iterdir()), way


@pytest.mark.parametrize("way", [way for way, (_, honest, _) in WAYS.items() if honest])
def test_an_honest_file_is_taken(tmp_path: Path, way: str) -> None:
    _, honest, offer = WAYS[way]
    verdict = offer(judging.HONEST / honest, tmp_path)
    assert verdict.is_the("0"), verdict


def test_every_file_has_an_expected_end_in_every_way() -> None:
    for way, (folder, _, _) in WAYS.items():
        listed = [name for names in EXPECTED[way].values() for name in names]
        assert sorted(listed) == sorted(named(folder)), way
    assert set(EXPECTED) == set(WAYS)
    folders = {path.name for path in judging.CORPUS.iterdir()}
    assert folders == {folder for folder, _, _ in WAYS.values()} | {"honest"}


def test_the_corpus_is_what_its_script_writes() -> None:
    """All but the HDF5 files, whose bytes change with the library."""
    written = dict(make.plain())
    there = {path.relative_to(judging.CORPUS).as_posix(): path for path in judging.CORPUS.rglob("*") if path.is_file()}
    library = {f"{folder}/{name}.h5" for folder, made in make.HDF5.items() for name in made} | {"honest/images.h5"}
    assert set(written) | library == set(there)
    assert [name for name, data in written.items() if there[name].read_bytes() != data] == []
    assert len(there) >= 120
    assert sum(path.stat().st_size for path in there.values()) < 1_500_000


@pytest.mark.slow
def test_nothing_runs_opens_or_calls_while_the_corpus_is_read(tmp_path: Path) -> None:
    """The whole corpus once more, in a process that reports all it does."""
    told = run_script("audited.py", tmp_path)
    assert told["offered"] == sum(1 for _ in cases())
    assert told["wrong"] == []
    assert told["events"] == []
    assert told["torch"] is False
    assert told["grown"] < 128 << 20
    assert MARK not in {path.name for path in tmp_path.rglob("*")}
