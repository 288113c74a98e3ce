"""Classes are given by number or by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forge import small_base

from poisonsets.cli.options import ClassPair
from poisonsets.door import classes
from poisonsets.manifests.errors import UsageError

BASE = replace(small_base(classes=4), classes=("cat", "dog", "1", "dog"), victim_classes=(1, 2))


def test_a_class_is_a_number_or_a_name() -> None:
    assert [classes.label(text, BASE, "--option") for text in ("0", "cat", "3", "1")] == [0, 0, 3, 1]
    assert classes.labels("2-3,cat", BASE, "--option") == (0, 2, 3)
    assert classes.pair(ClassPair("cat", "2"), BASE) == (0, 2)
    assert classes.source_labels("all", BASE) == (1, 2)
    assert classes.source_labels(None, BASE) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4", "--option 4: small has classes 0-3"),
        ("0-4", "--option 4: small has classes 0-3"),
        ("cats", "--option cats: small has no class of this name. Did you mean cat?"),
        ("zebra", "Give a number, 0-3, or a name"),
        ("", "Give a number"),
        ("-1", "--option -1: small has no class of this name. Did you mean 1?"),
        ("dog", "--option dog: small has no class of this name"),  # it has two
        ("3-0", "backwards"),
    ],
)
def test_what_is_no_class_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        classes.labels(text, BASE, "--option")


@pytest.mark.parametrize(("by_name", "by_number"), [("cat:dog", "0:1"), ("1:cat", "1:0")])
def test_the_command_line_takes_both(
    cli: Callable[..., Any], here: Path, tmp_path: Path, by_name: str, by_number: str
) -> None:
    from PIL import Image

    for number, name in enumerate(("cat", "dog")):
        for image in range(12):
            path = tmp_path / "pets" / name / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number * 99, image, 7)).save(path)
    base = f"folder:{tmp_path / 'pets'}@holdout=1/4"
    assert cli("base", "add", base, "-q").code == 0
    craft = ("craft", "noise", "--base", base, "--trials", "0", "--poisons", "2", "--json")
    made = [cli(*craft, "--class-pair", pair, "-o", out) for pair, out in ((by_name, "names"), (by_number, "numbers"))]
    assert [one.code for one in made] == [0, 0], made
    digests = {json.loads(one.out)["content_digest"] for one in made}
    assert len(digests) == 1


@pytest.mark.parametrize("rate", ["1/4", "0.25", "25%"])
def test_a_share_is_spelled_in_any_way(cli: Callable[..., Any], here: Path, rate: str) -> None:
    craft = ("craft", "noise", "--base", "digits", "--trials", "0", "-o", "set", "-q")
    assert cli(*craft, "--rate", rate).code == 0
    setup = json.loads((here / "set" / "manifest.json").read_bytes())["setup"]
    assert (setup["rate"], setup["poisons"]) == ("1/4", None)
