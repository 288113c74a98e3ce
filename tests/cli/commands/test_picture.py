"""`show --picture`: chosen trials and slots, in the format of the ending, never over a file."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import small_set
from PIL import Image

from poisonsets.manifests.bases.cache import open_base
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.sets.reader import open_set

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def digits(cache: Path) -> Base:
    return open_base("digits", cache=cache)


@pytest.fixture
def made(here: Path, digits: Base) -> Path:
    return small_set(here / "set", digits, trials=4)


def shown(path: Path) -> list[Images]:
    """The images of an SVG, in order."""
    found = []
    for one in ElementTree.parse(path).getroot().iter(f"{SVG}image"):  # noqa: S314  our own file
        data = one.attrib["href"].removeprefix("data:image/png;base64,")
        with Image.open(BytesIO(base64.b64decode(data)), formats=["PNG"]) as image:
            found.append(np.array(image))
    return found


def test_an_svg_has_the_exact_pixels_of_the_chosen_slots(
    cli: Callable[..., Any], here: Path, made: Path, digits: Base
) -> None:
    done = cli("show", "set", "--picture", "new.svg", "--trials", "3,1", "--slots", "0,2")
    assert done.code == 0, done
    cells, opened = shown(here / "new.svg"), open_set(made)
    assert len(cells) == 2 * 2 * 4
    wanted = [(trial, slot) for trial in (1, 3) for slot in (0, 2)]
    for row, (number, slot) in enumerate(wanted):
        trial = opened.trial(number)
        clean, poison, difference, target = cells[4 * row : 4 * row + 4]
        assert np.array_equal(poison, trial.poisons()[0][slot])
        assert np.array_equal(clean, digits.train.images[trial.record.slots.bases[slot] or 0])
        assert np.array_equal(target, trial.target_images(digits)[0])
        delta = poison.astype(int) - clean
        assert np.array_equal(difference, 128 + 15 * delta)  # 127 // 8 levels
    words = [one.text for one in ElementTree.parse(here / "new.svg").iter(f"{SVG}text")]  # noqa: S314
    assert words[:4] == ["base", "poison", "difference x15", "target"]
    assert [word[:15] for word in words[4:] if word] == [f"slot {slot}, trial {trial}" for trial, slot in wanted]


def test_worst_is_the_slot_that_moved_most(cli: Callable[..., Any], here: Path, made: Path, digits: Base) -> None:
    assert cli("show", "set", "--picture", "new.svg").code == 0
    cells = shown(here / "new.svg")
    assert len(cells) == 3 * 4
    for number, poison in enumerate(cells[1::4]):
        trial = open_set(made).trial(number)
        poisons = trial.poisons()[0].astype(int)
        moved = np.abs(poisons - digits.train.images[list(trial.record.slots.bases)]).sum(axis=(1, 2, 3))
        assert np.array_equal(poison, poisons[moved.argmax()])


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("PDF", b"%PDF-1."), ("svg", b"<svg ")])
def test_the_ending_decides_the_format_and_equal_sets_give_equal_bytes(
    cli: Callable[..., Any], here: Path, made: Path, ending: str, start: bytes
) -> None:
    for name in ("one", "two"):
        assert cli("show", "set", "--picture", f"{name}.{ending}").code == 0
    data = (here / f"one.{ending}").read_bytes()
    assert data.startswith(start)
    assert data == (here / f"two.{ending}").read_bytes()


def test_a_pdf_has_one_page_of_the_pictures_size(cli: Callable[..., Any], here: Path, made: Path) -> None:
    assert cli("show", "set", "--picture", "new.pdf", "--trials", "0").code == 0
    data = (here / "new.pdf").read_bytes()
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", data)
    assert [round(float(side)) for side in box] == [552, 188]
    assert b"/DCTDecode" in data


@pytest.mark.parametrize(
    ("options", "code", "fragments"),
    [
        (["--picture", "new.gif"], 2, ["new.gif", "End it in .png, .pdf, .svg"]),
        (["--picture", "new"], 2, ["the ending decides"]),
        (["--picture", "taken.png"], 4, ["taken.png: exists already"]),
        (["--picture", "new.png", "--trials", "9"], 2, ["trial 9 is not in the set (it has 0-3)"]),
        (["--picture", "new.png", "--slots", "4"], 2, ["--slots 4: trial 0 has slots 0-3"]),
        (["--picture", "new.png", "--slots", "best"], 2, ["--slots"]),
        (["--trials", "1"], 2, ["Add --picture FILE.png"]),
        (["--slots", "1"], 2, ["Add --picture FILE.png"]),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    cli: Callable[..., Any], here: Path, made: Path, options: list[str], code: int, fragments: list[str]
) -> None:
    (here / "taken.png").write_bytes(b"mine")
    cli("show", "set", *options).refused(code, *fragments)
    assert (here / "taken.png").read_bytes() == b"mine"
    assert not list(here.glob("new*"))
