"""The writer takes over what an interrupted run finished, and crafts again what is not whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from forge import check, noise_request

from poisonsets.crafting.driver import CraftRequest, CraftSummary, craft_set
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.files import store
from poisonsets.manifests.sets import writer


@pytest.fixture(scope="module")
def noise(base: Base) -> CraftRequest:
    return noise_request(base)


@pytest.fixture(scope="module")
def digest(noise: CraftRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return craft_set(tmp_path_factory.mktemp("whole") / "set", noise).content_digest


def interrupted(final: Path, noise: CraftRequest) -> None:
    """Stop a run after its trials, before it is published."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer.SetWriter, "publish", _stop)
        with pytest.raises(KeyboardInterrupt):
            craft_set(final, noise)
    assert not final.exists()


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def resumed(final: Path, noise: CraftRequest) -> CraftSummary:
    return craft_set(final, noise, resume=True)


def test_finished_trials_are_taken_over(noise: CraftRequest, digest: str, tmp_path: Path) -> None:
    interrupted(tmp_path / "set", noise)
    done = resumed(tmp_path / "set", noise)
    assert (done.taken_over, done.trials, done.content_digest) == (2, 2, digest)


SHARD, ENTRY = "set/poisons/trial-00001-000.tar", "journal/00001.json"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "spoil", "left"),
    [
        pytest.param(SHARD, lambda path: path.write_bytes(path.read_bytes()[:-1]), 1, id="cut shard"),
        pytest.param(SHARD, _flip, 1, id="flipped shard"),
        pytest.param(SHARD, Path.unlink, 1, id="no shard"),
        pytest.param(ENTRY, lambda path: path.write_bytes(path.read_bytes()[:-10]), 1, id="cut entry"),
        pytest.param(ENTRY, Path.unlink, 1, id="no entry"),
        pytest.param("set", shutil.rmtree, 0, id="no payload"),
    ],
)
def test_what_is_not_whole_is_crafted_again(
    noise: CraftRequest, digest: str, tmp_path: Path, file: str, spoil: Callable[[Path], object], left: int
) -> None:
    interrupted(tmp_path / "set", noise)
    spoil(tmp_path / "set.partial" / file)
    done = resumed(tmp_path / "set", noise)
    assert (done.taken_over, done.content_digest) == (left, digest)


@pytest.mark.parametrize("leftover", ["request.json.0123456789ab", "set/poisons/trial-00000-000.tar.0123456789ab"])
def test_half_written_files_of_a_killed_process_do_not_matter(
    noise: CraftRequest, base: Base, digest: str, tmp_path: Path, leftover: str
) -> None:
    path = tmp_path / "set.partial" / f"{leftover}{store.TEMPORARY}"
    if leftover.startswith("set/"):
        interrupted(tmp_path / "set", noise)
    else:  # killed before its request was written: there is nothing to resume, so it is a new set
        path.parent.mkdir()
    path.write_bytes(b"half")
    assert resumed(tmp_path / "set", noise).content_digest == digest
    assert check(tmp_path / "set", base).clean


def test_an_unfinished_set_is_not_touched_without_resume(noise: CraftRequest, tmp_path: Path) -> None:
    interrupted(tmp_path / "set", noise)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MissingError, match="--resume"):
        craft_set(tmp_path / "set", noise)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_request_does_not_resume(base: Base, noise: CraftRequest, tmp_path: Path) -> None:
    interrupted(tmp_path / "set", noise)
    for other in (noise_request(base, seed=4), noise_request(base, levels=9), noise_request(base, trials=1)):
        with pytest.raises(MissingError, match="another command"):
            resumed(tmp_path / "set", other)
    assert resumed(tmp_path / "set", noise).taken_over == 2


def test_two_processes_do_not_write_one_set(noise: CraftRequest, tmp_path: Path) -> None:
    interrupted(tmp_path / "set", noise)
    with store.locked(tmp_path / "set.partial"), pytest.raises(MissingError, match="another process"):
        resumed(tmp_path / "set", noise)
    assert resumed(tmp_path / "set", noise).trials == 2


def test_the_current_folder_can_become_the_set(
    noise: CraftRequest, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path / "set")
    assert craft_set(Path(), noise).content_digest == digest
    assert (tmp_path / "set" / "manifest.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
