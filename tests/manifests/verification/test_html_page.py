"""The page: nothing in it runs or is fetched, whatever a set says, and it shows the poisons that matter."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from forge import Draft, base_of_another_height, check, forge
from golden.making import GOLDEN, golden_base
from PIL import Image

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.html_page import PICTURED, amplified, page, worst_poisons
from poisonsets.manifests.verification.sample import Sample
from poisonsets.manifests.verification.verify import verify

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>$title\x1b[31m\n&#60;"


class Seen(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(folder: Path, base: Base) -> str:
    report = check(folder, base)
    return page(report, worst_poisons(open_set(folder), base, report))


def tidy(text: str) -> Seen:
    seen = Seen(text)
    assert {tag for tag, _ in seen.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th", "td"),
        *("div", "figure", "img", "figcaption", "ul", "li"),
    }
    for tag, attributes in seen.tags:
        assert set(attributes) <= {"lang", "charset", "http-equiv", "content", "name", "class", "src", "alt"} | {
            "width",
            "height",
        }
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    assert "default-src 'none'" in str(seen.tags)
    assert not re.findall(r"https?:|url\(|@import", text)
    return seen


def lie(draft: Draft) -> None:
    draft.images[3][2] = 255 - draft.images[3][2]
    draft.manifest["base"]["classes"] = [EVIL, "b", "c"]


def test_findings_come_first_then_the_largest_use_of_the_budget(five: Path, tmp_path: Path, base: Base) -> None:
    seen = tidy(shown(forge(five, tmp_path / "set", lie), base))
    captions = re.findall(r"trial \d+ slot \d+: (?:V\d+|uses)", seen.text)
    assert captions[0] == "trial 3 slot 2: V301"
    assert len(captions) == PICTURED
    assert all(one.endswith("uses") for one in captions[1:])
    assert "Claims do not hold." in seen.text
    assert len([tag for tag, _ in seen.tags if tag == "img"]) == 4 * PICTURED


def test_the_pictures_are_those_of_the_set() -> None:
    report = verify(GOLDEN, lambda pin: golden_base())
    opened = open_set(GOLDEN)
    found = worst_poisons(opened, golden_base(), report)
    seen = tidy(page(report, found))
    images = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(str(attributes["src"]).partition(",")[2])), formats=["PNG"]))
        for tag, attributes in seen.tags
        if tag == "img"
    ]
    poisons, base = opened.trials[1].poisons()[0], golden_base()
    at = [one.caption.startswith("trial 1 slot 2:") for one in found].index(True) * 4
    bases = opened.trials[1].record.slots.bases
    assert np.array_equal(images[at], base.train.images[bases[2] or 0])
    assert np.array_equal(images[at + 1], poisons[2])
    assert np.array_equal(images[at + 3], opened.trials[1].target_images(base)[0])


def test_whatever_a_set_says_is_text(five: Path, tmp_path: Path, base: Base) -> None:
    seen = tidy(shown(forge(five, tmp_path / EVIL.replace("/", "_").replace("\n", ""), lie), base))
    assert "<script>" in seen.text
    assert "$title" in seen.text
    assert "\x1b" not in seen.text


def broken_target(draft: Draft) -> None:
    for trial in draft.manifest["trials"]:
        trial["targets"][0]["index"] = 10_000


def unknown_bases(draft: Draft) -> None:
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
    for trial in draft.manifest["trials"]:
        trial["slots"]["bases"] = [None] * 4


def bases_outside(draft: Draft) -> None:
    for trial in draft.manifest["trials"]:
        trial["slots"]["bases"] = [10_000] * 4


def slots_twice(draft: Draft) -> None:
    draft.slots[0][1] = 0
    draft.images[0][0] = 255 - draft.images[0][0]


@pytest.mark.parametrize("edit", [broken_target, unknown_bases, bases_outside, base_of_another_height, slots_twice])
def test_what_cannot_be_pictured_is_left_out(
    five: Path, tmp_path: Path, base: Base, edit: Callable[[Draft], None]
) -> None:
    seen = tidy(shown(forge(five, tmp_path / "set", edit), base))
    assert "Claims do not hold." in seen.text


def test_a_damaged_set_has_a_page_without_pictures(five: Path, tmp_path: Path, base: Base) -> None:
    def nothing(draft: Draft) -> None:
        del draft

    broken = forge(five, tmp_path / "set", nothing)
    (broken / "README.md").write_text("x")
    seen = tidy(shown(broken, base))
    assert "The set is damaged." in seen.text
    assert "img" not in {tag for tag, _ in seen.tags}


def test_equal_sets_have_equal_pages_and_a_sample_is_said(five: Path, base: Base) -> None:
    assert shown(five, base) == shown(five, base)
    report = verify(five, lambda pin: base, sample=Sample(1, 5))
    assert "1 of 5 trials (part 1/5 of seed 0)" in tidy(page(report)).text


def test_a_sample_promises_nothing_for_the_rest(five: Path, base: Base) -> None:
    words = "Every claim that bytes can prove holds{}."
    for sample, part in ((None, ""), (Sample(1, 1), ""), (Sample(1, 5), " in the trials that were read")):
        assert words.format(part) in tidy(page(verify(five, lambda pin: base, sample=sample))).text


def test_headings_count_what_is_not_listed(
    five: Path, tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def far(draft: Draft) -> None:
        for images in draft.images.values():
            images[:] = [255 - image for image in images]
        draft.labels[4][:] = [(label + 1) % 3 for label in draft.labels[4]]

    monkeypatch.setattr("poisonsets.manifests.limits.FINDINGS_KEPT", 3)
    text = tidy(shown(forge(five, tmp_path / "set", far), base)).text
    assert "V202: 4 violations" in text
    assert "trial 4 slot 0label" in text
    assert "V301: 20 violations" in text
    assert re.findall(r"and \d+ more\.", text) == ["and 1 more.", "and 17 more."]


def test_differences_are_around_grey_and_enlarged_as_far_as_they_fit() -> None:
    base = np.full((10, 10, 3), 100, np.uint8)
    image = base.copy()
    assert np.array_equal(amplified(image, base)[0], np.full_like(base, 128))
    image[:5], image[9, 9] = 108, 255  # a few far values do not hide the others
    difference, factor = amplified(image, base)
    assert factor == 15
    assert (difference[0, 0, 0], difference[7, 0, 0], difference[9, 9, 0]) == (128 + 15 * 8, 128, 255)
