"""Every command at its plainest, as text and as JSON, in this process and in a few new ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
LISTS = (
    *("attacks", "bases", "networks", "protocols", "suites", "setups", "presets", "triggers", "checks", "formats"),
    "weights",
)


@pytest.mark.parametrize("what", LISTS)
def test_every_list_is_a_table_and_a_document(cli: Cli, what: str) -> None:
    text = cli("list", what)
    assert (text.code, text.err) == (0, "")
    rows = cli("list", what, "--json").document()[what]
    assert rows
    key = next(iter(rows[0].keys() & {"name", "id", "code"}))
    assert len({row[key] for row in rows}) == len(rows)
    for row in rows:
        assert row[key][:24] in text.out  # what is longer, a digest, takes two lines


def test_the_lists_are_those_of_the_help(cli: Cli) -> None:
    from poisonsets.cli.listings import LISTS as KNOWN

    assert set(KNOWN) == set(LISTS)
    helped = cli("list", "--help").out
    assert all(name in helped for name in KNOWN)


def test_without_arguments_the_help_is_shown(cli: Cli) -> None:
    for command in ((), ("base",)):
        done = cli(*command)
        assert "Usage: poisonsets" in done.out
        assert done.err == ""


def test_version(cli: Cli) -> None:
    import poisonsets

    done = cli("--version")
    assert (done.code, done.out) == (0, f"poisonsets {poisonsets.__version__}\n")


@pytest.mark.parametrize(("trials", "said"), [("0", "1 trial,"), ("0-1", "2 trials,")])
def test_crafted_trials_are_counted(cli: Cli, here: Path, trials: str, said: str) -> None:
    done = cli("craft", "noise", "--base", "digits", "--trials", trials, "--poisons", "1", "-o", "set")
    assert done.out.startswith(f"set: {said} content digest ")


def test_a_set_says_what_it_is(cli: Cli, honest: Path) -> None:
    text = cli("show", honest)
    document = cli("show", honest, "--json").document()
    assert (text.code, text.err) == (0, "")
    assert document["content_digest"] in text.out
    assert document["attack"]["name"] == "noise"
    assert "Poisoned data for research" in text.out
    assert [trial["trial"] for trial in document["trials"]] == [0, 1]


def test_a_network_is_trained_and_shown(cli: Cli, here: Path) -> None:
    train = ("train", "--base", "digits", "--net", "convnet", "--width", "0.25", "--epochs", "1", "--classes", "0-2")
    done = cli(*train, "-o", "a.safetensors", "--json")
    assert (done.code, done.err) == (0, "")
    digest = done.document()["digest"]
    shown = cli("show", "a.safetensors", "--json").document()
    assert (shown["digest"], shown["classes"], shown["width"]) == (digest, [0, 1, 2], "0.25")
    assert digest in cli("show", "a.safetensors").out
    again = cli(*train, "-o", "b.safetensors")
    assert digest in again.out
    assert (here / "a.safetensors").read_bytes() == (here / "b.safetensors").read_bytes()


def test_a_damaged_network_is_3(cli: Cli, here: Path) -> None:
    (here / "w.safetensors").write_bytes(b"\xff" * 100)
    cli("show", "w.safetensors").refused(3, "w.safetensors")
    (here / "link.safetensors").symlink_to(here / "w.safetensors")
    cli("show", "link.safetensors").refused(3, "a link")


def test_a_base_is_added_and_listed(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISONSETS_CACHE", str(here / "cache"))
    assert "made on first use" not in cli("base", "add", "digits").out
    pin = cli("base", "add", "digits", "--json").document()["base"]
    (listed,) = cli("base", "list", "--json").document()["bases"]
    assert listed["name"] == pin["name"] == "digits"
    assert {name: split["digest"] for name, split in listed["splits"].items()} == {
        name: split["digest"] for name, split in pin["splits"].items()
    }
    assert pin["splits"]["train"]["digest"][:16] in cli("base", "list").out


def test_a_folder_of_images_becomes_a_base_and_a_set(
    cli: Cli, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from PIL import Image

    monkeypatch.setenv("POISONSETS_CACHE", str(tmp_path / "cache"))  # no other folder is called flowers there
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = here / "flowers" / ("daisy", "rose")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    base = ("--base", "folder:flowers")
    craft = ("craft", "noise", *base, "--trials", "0", "--poisons", "2", "-o", "set")
    cli(*craft).refused(4, f"`poisonsets base add folder:{here / 'flowers'}@holdout=1/20`")
    assert cli("base", "add", "folder:flowers", "--holdout", "1/4").code == 0
    assert cli(*craft).code == 0
    assert cli("verify", "set").code == 0
    assert cli("verify", "set", *base).code == 0
    assert cli("verify", "set", "--base", f"folder:{here / 'flowers'}@holdout=25%").code == 0
    other = cli("verify", "set", "--base", "digits")
    other.refused(4, "Give the base it was made from")


def test_quiet_silences_notes(cli: Cli, cache: Path) -> None:
    craft = ("craft", "bp", "--base", "digits", "--trials", "0", "--poisons", "2", "--set", "steps=2")
    loud = cli(*craft, "-o", "loud")
    assert loud.err.startswith("using the default network of digits")
    assert len(loud.err.splitlines()) == 1
    quiet = cli(*craft, "-o", "quiet", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    assert loud.out.split()[-1] == quiet.out.split()[-1]


def test_the_name_does_not_change_the_identity(cli: Cli) -> None:
    craft = ("craft", "noise", "--base", "digits", "--trials", "0", "--poisons", "2", "--json")
    first = cli(*craft, "-o", "a set with ü and spaces").document()
    second = cli(*craft, "-o", "b", "--name", "other").document()
    assert first["content_digest"] == second["content_digest"]
    assert cli("show", "b", "--json").document()["name"] == "other"
    assert cli("verify", "a set with ü and spaces").code == 0


def test_a_hostile_name_is_refused_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    craft = ("craft", "noise", "--base", "digits", "--trials", "0", "--poisons", "2", "-o", str(tmp_path / "set"))
    refused = cli(*craft, "--name", "\x1b[31mred[bold]")
    assert refused.code == 2
    assert "--name" in refused.err
    assert "\x1b" not in refused.out + refused.err
    assert not (tmp_path / "set").exists()


def _program(*arguments: str, cache: Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "poisonsets", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, POISONSETS_CACHE=str(cache)),
    )


@pytest.mark.parametrize(("arguments", "code"), [(("list", "checks"), 0), (("verify",), 2), (("show", "nowhere"), 4)])
def test_the_program_ends_with_the_code(cache: Path, arguments: tuple[str, ...], code: int) -> None:
    process = _program(*arguments, cache=cache)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert (bool(out), len(err.splitlines())) == ((True, 0) if code == 0 else (False, 1))


def test_a_reader_that_has_gone_is_told_nothing(cache: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = _program("list", "checks", cache=cache, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (4, "")


@pytest.mark.parametrize(("closed", "arguments", "code"), [(">&-", "list checks", 0), ("2>&-", "list nothing", 2)])
def test_what_goes_to_a_closed_stream_is_lost(closed: str, arguments: str, code: int) -> None:
    command = f"{sys.executable} -m poisonsets {arguments} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_full_output_device_is_said(cache: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = _program("list", "checks", "--json", cache=cache, stdout=full.fileno())
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert err == "poisonsets: No space left on device. Check permissions and free space\n"
