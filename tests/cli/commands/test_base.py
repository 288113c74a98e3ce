"""`poisonsets base`: what is added opens by its listed name from any folder, has a size, and is removed unasked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., Any]


@pytest.fixture
def flowers(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of two classes and two sizes in a folder with a space in its name; the cache is empty."""
    monkeypatch.setenv("POISONSETS_CACHE", str(here / "cache"))
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = here / "my flowers" / ("daisy", "rose")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        side = 8 + number % 3 // 2
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return here / "my flowers"


@pytest.fixture
def cli(cli: Cli, flowers: Path) -> Cli:
    return cli


def pasted(line: str) -> list[str]:
    """The words of the command that a message tells to type."""
    return shlex.split(line.split("`")[1])[1:]


def test_one_refusal_and_one_paste_lead_to_a_base(cli: Cli, flowers: Path) -> None:
    refused = cli("base", "add", "folder:my flowers")
    refused.refused(2, "no test split", "differ in size", f"'folder:{flowers}@holdout=1/20,resize=8'")
    assert cli(*pasted(refused.err)).code == 0
    missed = cli("craft", "noise", "--base", "folder:my flowers@resize=6", "--trials", "0", "-o", "set")
    missed.refused(4, "not in the cache", "or open folder:my-flowers")
    assert cli(*pasted(missed.err)).code == 0


def test_a_listed_name_opens_from_any_folder_with_its_options(
    cli: Cli, flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = cli("base", "add", "folder:my flowers", "--holdout", "25%", "--resize", "6", "--split-seed", "1", "--json")
    elsewhere = flowers.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (row,) = (row for row in cli("base", "list", "--json").document()["bases"] if row["bytes"])
    assert row["spec"] == f"folder:{flowers}@holdout=1/4,resize=6,split-seed=1"
    assert row["splits"] == added.document()["base"]["splits"]
    craft = ("craft", "noise", "--base", row["name"], "--trials", "0", "--poisons", "2", "-o", "set")
    assert cli(*craft).code == 0
    assert cli("show", "set", "--json").document()["base"]["splits"] == row["splits"]
    assert cli("verify", "set", "--base", row["name"]).code == 0
    for other in ("folder:elsewhere", "digits@resize=6"):
        assert cli("verify", "set", "--base", other).code == 4


def test_a_path_that_holds_an_at_is_told_apart(cli: Cli, flowers: Path) -> None:
    flowers.rename(flowers.with_name("me@home"))
    refused = cli("base", "add", "folder:me@home", "--holdout", "1/4", "--resize", "8")
    refused.refused(2, "'home' is no option", "base add folder --from me@home")
    assert cli(*pasted(refused.err), "--holdout", "1/4", "--resize", "8").code == 0
    assert cli("base", "remove", "folder:me@home").code == 0


def test_sizes_are_listed_and_a_base_is_removed(cli: Cli, flowers: Path) -> None:
    for options in (("--holdout", "1/4"), ("--holdout", "1/3")):
        assert cli("base", "add", "folder:my flowers", "--resize", "6", *options).code == 0
    document = cli("base", "list", "--json").document()
    sizes = {row["name"]: row["bytes"] for row in document["bases"]}
    files = {row["name"]: row["file"] for row in document["bases"]}
    assert sizes.pop("digits") == 0
    assert files.pop("digits") is None
    assert sizes == {name: Path(file).stat().st_size for name, file in files.items()}
    assert document["bytes"] == sum(sizes.values())
    table = cli("base", "list").out
    assert f"{document['bytes']:,} bytes in all" in table
    assert "made on first use" in table
    cli("base", "remove", "folder:my-flowers").refused(2, "names 2 bases in the cache", *map(shlex.quote, sizes))
    first, second = sizes
    assert cli("base", "remove", first).out == f"{first}: removed, {sizes[first]:,} bytes\n"
    assert not Path(files[first]).exists()
    cli("base", "remove", "folder:your-flowers").refused(2, "no base in the cache", "Did you mean folder:my-flowers?")
    removed = cli("base", "remove", "folder:my-flowers", "--json").document()
    assert removed == {"schema_version": 1, "removed": "folder:my-flowers", "bytes": sizes[second]}
    assert cli("base", "list", "--json").document()["bytes"] == 0


def test_a_file_that_cannot_be_used_is_named_in_full(cli: Cli, flowers: Path) -> None:
    assert cli("base", "add", "folder:my flowers", "--resize", "6", "--holdout", "1/4").code == 0
    (path,) = (flowers.parent / "cache" / "bases").glob("*.h5")
    path.write_bytes(b"damaged")
    (row, digits) = cli("base", "list", "--json").document()["bases"]
    assert (row["name"], row["bytes"], row["splits"], digits["name"]) == (path.name, 7, {}, "digits")
    listed = cli("base", "list").out
    assert "cannot be used" in listed
    assert row["problem"] in listed.splitlines()
    missed = cli("craft", "noise", "--base", f"folder:{flowers}", "--trials", "0", "-o", "set")
    missed.refused(4, "not in the cache", "@holdout=1/20,resize=8'`")
    assert path.name not in missed.err
    assert cli("base", "remove", path.name).code == 0


def test_what_was_taken_and_what_was_passed_over_is_shown(cli: Cli, flowers: Path) -> None:
    """Of the sheet: F1, F3 and F4, on the command line."""
    (flowers / "rose" / "notes.txt").write_text("from a garden")
    (flowers / "rose" / ".DS_Store").write_bytes(b"")
    added = cli("base", "add", "folder:my flowers", "--resize", "6", "--holdout", "1/4")
    assert added.code == 0
    for shown in (
        "class folders",
        "held out",
        "daisy",
        "rose",
        "8x8 to 9x9",
        "passed over: 1 files that are no images",
    ):
        assert shown in added.out, added.out
    read = cli("base", "add", "folder:my flowers", "--resize", "6", "--holdout", "1/4", "--json").document()["read"]
    assert {one["what"]: one["count"] for one in read["passed_over"]} == {
        "files that are no images": 1,
        "files or folders that nobody made": 1,
    }
    assert read["splits"]["train"]["origin"] == "class folders"
    assert sum(one["images"] for split in read["splits"].values() for one in split["classes"]) == 24
    assert sum(one["images"] for one in read["sizes"]) == 24


def test_splits_are_named_by_globs_and_open_again(cli: Cli, flowers: Path) -> None:
    for name in ("garden", "field"):
        (flowers.parent / "all" / name).mkdir(parents=True)
    for one in ("daisy", "rose"):
        (flowers / one).rename(flowers.parent / "all" / "garden" / one)
        (flowers.parent / "all" / "field" / one).mkdir()
        some = sorted((flowers.parent / "all" / "garden" / one).iterdir())[:4]
        for path in some:
            path.rename(flowers.parent / "all" / "field" / one / path.name)
    options = ("--train", "garden", "--test", "f*", "--resize", "6")
    assert cli("base", "add", "folder:all", *options).code == 0
    (row,) = (row for row in cli("base", "list", "--json").document()["bases"] if row["bytes"])
    assert row["spec"].endswith("@resize=6,test=f*,train=garden")
    assert (row["splits"]["train"]["images"], row["splits"]["test"]["images"]) == (16, 8)
    assert cli("base", "add", row["spec"]).code == 0
    cli("base", "add", "folder:all", "--train", "none*").refused(4, "no folder matches none*")
    cli("base", "add", "digits", "--train", "x").refused(2, "digits takes no train", "Leave out --train")
    cli("base", "add", "folder:all", "--train", "a,b").refused(2, "not a glob", "?")
