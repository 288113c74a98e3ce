"""Refusals: each command that cannot be carried out ends with its exit code and one line, and writes nothing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

CRAFT = ("craft", "noise", "--base", "digits", "-o", "new")
BULLSEYE = ("craft", "bullseye-polytope", "--base", "digits", "-o", "new")
TRAIN = ("train", "--base", "digits", "--net", "convnet", "--epochs", "1", "-o", "new.safetensors")
USAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown command": (("nosuch",), "No such command"),
    "unknown option": ((*CRAFT, "--wrong", "1"), "No such option: --wrong"),
    "missing option": (("craft", "noise", "--base", "digits"), "'-o' / '--output'. See `poisonsets craft --help`"),
    "missing argument": (("verify",), "path"),
    "attack, one letter wrong": (("craft", "bullseye-polytop", *CRAFT[2:]), "Did you mean bullseye-polytope?"),
    "attack, nothing like it": (("craft", "zzzzz", *CRAFT[2:]), "list attacks"),
    "epsilon 0": ((*CRAFT, "--epsilon", "0"), "8 means 8/255"),
    "epsilon 256": ((*CRAFT, "--epsilon", "256"), "--epsilon 256"),
    "epsilon 7.5": ((*CRAFT, "--epsilon", "7.5"), "--epsilon 7.5"),
    "epsilon eight": ((*CRAFT, "--epsilon", "eight"), "--epsilon eight"),
    "epsilon -8": ((*CRAFT, "--epsilon=-8"), "--epsilon -8"),
    "epsilon in other digits": ((*CRAFT, "--epsilon", "\u0668"), "--epsilon"),
    "trials backwards": ((*CRAFT, "--trials", "9-0"), "backwards"),
    "trials no number": ((*CRAFT, "--trials", "all"), "Write it like 0-9"),
    "trial past the last": ((*CRAFT, "--trials", "100000"), "0-99999"),
    "no poisons": ((*CRAFT, "--poisons", "0"), "--poisons"),
    "more poisons than images": ((*CRAFT, "--poisons", "5000"), "training images"),
    "rate": ((*CRAFT, "--rate", "0,1"), "Write it like 1/2, 0.5 or 50%"),
    "rate 0": ((*CRAFT, "--rate", "0%"), "--rate 0%: a share of nothing"),
    "rate above one": ((*CRAFT, "--rate", "2/1"), "2/1"),
    "poisons and rate": ((*CRAFT, "--poisons", "4", "--rate", "1/10"), "Give one of them"),
    "class pair": ((*CRAFT, "--class-pair", "6"), "6:0"),
    "class pair of one class": ((*CRAFT, "--class-pair", "6:6"), "one class twice"),
    "class pair of strangers": ((*CRAFT, "--class-pair", "6:99"), "--class-pair 99: digits has classes 0-9"),
    "class pair of no such names": ((*CRAFT, "--class-pair", "six:0"), "--class-pair six: digits has no class of this"),
    "source classes of no such name": ((*CRAFT, "--source-classes", "5,six"), "--source-classes six: digits has no"),
    "setup, unknown": ((*CRAFT, "--setup", "witches"), "Did you mean witches-brew-cifar10?"),
    "setup to verify, unknown": (("verify", ".", "--setup", "nosuch"), "FILE.json, FILE.pickle, witches-brew-cifar10"),
    "setup and poisons": ((*CRAFT, "--setup", "file.json", "--poisons", "4"), "--setup fixes the trials"),
    "setup and class pair": ((*CRAFT, "--setup", "file.json", "--class-pair", "5:6"), "--setup fixes the trials"),
    "setting without a value": ((*BULLSEYE, "--set", "steps"), "key=value"),
    "setting twice": ((*BULLSEYE, "--set", "steps=1", "--set", "steps=2"), "twice"),
    "setting, unknown": ((*BULLSEYE, "--set", "stepz=1"), "Did you mean steps?"),
    "setting, no number": ((*BULLSEYE, "--set", "steps=many"), "not a whole number"),
    "setting, infinite": ((*BULLSEYE, "--set", "learning_rate=inf"), "not a finite number"),
    "surrogates two ways": ((*BULLSEYE, "--surrogate", "a", "--surrogate-pool", "b"), "exclude one another"),
    "composition": (
        (*CRAFT, "--composition", "replace"),
        "'replace' is not one of 'in-place', 'add', 'supplant'",
    ),
    "device": ((*CRAFT, "--device", "tpu"), "tpu"),
    "workers": ((*CRAFT, "--workers", "0"), "--workers"),
    "seed": ((*CRAFT, "--seed=-1"), "--seed"),
    "base, unknown": (("craft", "noise", "--base", "nosuch", "-o", "new"), "no base is called 'nosuch'"),
    "network": (("train", "--base", "digits", "--net", "nosuch", "-o", "new"), "nosuch"),
    "classes": ((*TRAIN, "--classes", "99"), "classes 0-9"),
    "width": ((*TRAIN, "--width", "wide"), "width"),
    "list of what": (("list", "attack"), "Did you mean attacks?"),
    "download of what": (("base", "add", "digits", "--download"), "cannot be downloaded"),
    "base to remove, unknown": (("base", "remove", "nosuch"), "Known: cifar10, cifar100, digits"),
    "from and download": (("base", "add", "cifar10", "--from", ".", "--download"), "exclude one another"),
}
MISSING: dict[str, tuple[tuple[str, ...], str]] = {
    "base": (("craft", "noise", "--base", "cifar10", "-o", "new"), "`poisonsets base add cifar10 --download`"),
    "base of a path": (
        ("craft", "noise", "--base", "webdataset:/flowers", "-o", "new"),
        "`poisonsets base add webdataset:/flowers`",
    ),
    "setup file": ((*CRAFT, "--setup", "file.json"), "file.json"),
    "surrogate": ((*BULLSEYE, "--surrogate", "a.safetensors"), "a.safetensors: no such file"),
    "set": (("verify", "nowhere"), "nowhere: no such folder"),
    "set, a file": (("verify", __file__), "not a folder. Give the folder of a poison set"),
    "set to score": (("score", "nowhere"), "nowhere: no such folder"),
    "set to show": (("show", "nowhere"), "nowhere: no such folder"),
    "weights to show": (("show", "nowhere.safetensors"), "no such file"),
    "source of a base": (("base", "add", "cifar10", "--from", "nowhere"), "nowhere"),
    "place in /proc": ((*CRAFT[:-1], "/proc/1/nope/set"), "/proc/1/nope"),
    "place on a device": ((*CRAFT[:-1], "/dev/full"), "not a folder"),
    "place below a device": ((*CRAFT[:-1], "/dev/full/set"), "a file stands where"),
}


@pytest.mark.parametrize(("command", "fragment"), USAGE.values(), ids=USAGE)
def test_a_usage_error_is_one_line(cli: Callable[..., Any], here: Path, command: list[str], fragment: str) -> None:
    cli(*command).refused(2, fragment)
    assert not list(here.iterdir())


@pytest.mark.parametrize(("command", "fragment"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_said(cli: Callable[..., Any], here: Path, command: list[str], fragment: str) -> None:
    cli(*command).refused(4, fragment)
    assert not list(here.iterdir())


def test_a_cache_below_a_file_is_refused(cli: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISONSETS_CACHE", "/dev/null/cache")
    cli(*CRAFT).refused(4, "a file stands where a folder is needed. Name a folder that can be written: `export")
    assert not list(here.iterdir())


@pytest.mark.parametrize(("command", "code"), [(USAGE["epsilon 7.5"][0], 2), (MISSING["base"][0], 4)])
def test_with_json_a_failure_is_one_document(cli: Callable[..., Any], command: list[str], code: int) -> None:
    done = cli(*command, "--json")
    document = json.loads(done.out)
    assert done.code == document["exit_code"] == code
    assert document["schema_version"] == 1
    assert done.err == f"poisonsets: {document['error']}\n"


def test_an_output_folder_with_something_in_it_is_left_alone(cli: Callable[..., Any], here: Path) -> None:
    (here / "new").mkdir()
    (here / "new" / "mine").write_text("precious")
    cli(*CRAFT).refused(4, "new: the output folder is not empty")
    cli(*BULLSEYE).refused(4, "new: the output folder is not empty")
    assert [path.name for path in here.rglob("*")] == ["new", "mine"]


def test_an_empty_output_folder_is_taken(cli: Callable[..., Any], here: Path) -> None:
    (here / "new").mkdir()
    done = cli(*CRAFT, "--trials", "0", "--poisons", "2")
    assert (done.code, done.err) == (0, "")
    assert sorted(path.name for path in here.iterdir()) == ["new"]


@pytest.mark.parametrize("link", ["to a folder", "to nothing"])
def test_an_output_that_is_a_link_is_refused(cli: Callable[..., Any], here: Path, tmp_path: Path, link: str) -> None:
    (here / "new").symlink_to(tmp_path if link == "to a folder" else tmp_path / "gone")
    cli(*CRAFT).refused(4, "not a folder")


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write anywhere: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_folder_that_may_not_be_written_is_refused_before_work(
    cli: Callable[..., Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("craft", "bp", "--base", "digits", "--trials", "0", "--poisons", "2", "--set", "steps=1")
    assert cli(*command, "-o", "first").code == 0
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        monkeypatch.setenv("POISONSETS_CACHE", str(shutil.copytree(cache, folder / "cache")))
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        monkeypatch.chdir(folder)
        with nobody():
            refused = cli(*command, "-o", folder / "new")
            fits = cli("craft", "noise", "--base", "digits", "-o", "new")
        names = [path.name for path in folder.iterdir()]
        folder.chmod(0o755)
    refused.refused(4, "Permission denied")
    fits.refused(4, "Permission denied")
    assert names == ["cache"]


@pytest.mark.parametrize("command", [CRAFT, TRAIN, ("base", "add", "digits"), ("demo",)])
def test_a_cache_that_cannot_be_written_is_named_before_work(
    cli: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("POISONSETS_CACHE", "/proc/1/nope")
    cli(*command).refused(4, "/proc/1/nope", "`export POISONSETS_CACHE=FOLDER`")
    assert not list(here.iterdir())


def test_a_default_network_that_cannot_be_kept_is_not_trained(
    cli: Callable[..., Any], here: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("craft", "noise", "--base", "digits", "--trials", "0", "--poisons", "2", "-o", "first").code == 0
    shutil.copytree(cache / "bases", here / "cache" / "bases")
    (here / "cache" / "weights").touch()
    monkeypatch.setenv("POISONSETS_CACHE", "cache")
    monkeypatch.setattr("poisonsets.victims.training.pretrain.train_network", lambda *_, **__: pytest.fail("trained"))
    cli(*BULLSEYE).refused(4, "cache/weights: a file stands where a folder is needed")


def test_somebody_without_a_home_is_asked_for_a_cache(
    cli: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("POISONSETS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    cli(*CRAFT).refused(4, "no home folder", "`export POISONSETS_CACHE=FOLDER`")
    assert not list(here.iterdir())


def test_weights_are_not_written_over(cli: Callable[..., Any], here: Path) -> None:
    (here / "new.safetensors").write_bytes(b"mine")
    cli(*TRAIN).refused(4, "exists already")
    assert (here / "new.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "raised", [TypeError("two\nlines \x1b[31m"), KeyError("x"), RuntimeError(""), RecursionError()]
)
def test_a_bug_of_ours_is_70_and_says_how_to_report_it(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("poisonsets.crafting.planning.plan_trials", fail)
    done = cli(*CRAFT)
    done.refused(70, "a bug of ours", type(raised).__name__, "POISONSETS_DEBUG=1")
    assert "\x1b" not in done.err
    monkeypatch.setenv("POISONSETS_DEBUG", "1")
    with pytest.raises(type(raised)):
        cli(*CRAFT)


@pytest.mark.parametrize(
    ("raised", "code", "fragment"),
    [
        (KeyboardInterrupt(), 130, "--resume"),
        (MemoryError(), 4, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 4, "out of memory"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), 4, "smaller network"),
        (RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel"), 4, "failed (CUDA error: unspecified"),
        (OSError(28, "No space left on device", "a/file"), 4, "a/file: No space left on device"),
        (PermissionError(13, "Permission denied"), 4, "Permission denied"),
    ],
)
def test_what_comes_from_outside_has_its_own_code(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, fragment: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("poisonsets.crafting.planning.plan_trials", fail)
    cli(*CRAFT).refused(code, fragment)
