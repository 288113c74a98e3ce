"""Triggers that a set claims: an exemption covers the trigger and nothing else, masks are masks, triggers fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forge import Draft, forge
from golden.making import GOLDEN, golden_base, noise

from poisonsets.manifests.files.pixels import Images, image_digest
from poisonsets.manifests.files.png import encode
from poisonsets.manifests.overlay.stamp import footprint
from poisonsets.manifests.sets.card import card
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.verify import verify

MASK = "triggers/cross-mask.png"
PICTURE = "triggers/cross.png"


def findings(tmp_path: Path, edit: Callable[[Draft], None]) -> tuple[Finding, ...]:
    report = verify(forge(GOLDEN, tmp_path / "forged", edit), lambda pin: golden_base())
    assert report.worst == 1
    return report.findings


def test_the_forger_itself_leaves_no_trace(tmp_path: Path) -> None:
    report = verify(forge(GOLDEN, tmp_path / "forged", lambda draft: None), lambda pin: golden_base())
    assert report.findings == ()


@pytest.mark.parametrize("slot", range(3))
def test_v302_an_exempt_pixel_holds_the_trigger_and_nothing_else(tmp_path: Path, slot: int) -> None:
    """Without this check the exemption would be a budget of 255 levels under the trigger."""
    second = open_set(GOLDEN).trials[1]
    trigger = second.trigger()
    assert trigger is not None
    under = np.argwhere(footprint(trigger, 8, 8, f"train/{second.record.slots.bases[slot]}"))
    row, column = (int(i) for i in under[0])

    def one_level(draft: Draft) -> None:
        draft.images[1][slot][row, column, 2] ^= 1

    (found,) = findings(tmp_path, one_level)
    assert (found.code, found.place) == ("V302", f"trial 1 slot {slot}")
    assert f"(row {row}, column {column})" in found.message


def replaced(path: str, picture: Images) -> Callable[[Draft], None]:
    """Another picture, honestly declared."""

    def edit(draft: Draft) -> None:
        draft.extra[path] = encode(picture)
        draft.manifest["trigger_pixels"][path] = image_digest(picture)

    return edit


def mask_as_read() -> Images:
    return open_set(GOLDEN).picture(MASK)


def nearly_white() -> Images:
    return np.minimum(mask_as_read(), 254)


def coloured() -> Images:
    mask = mask_as_read()
    mask[1, 1, 2] = 0
    return mask


@pytest.mark.parametrize("make", [nearly_white, coloured])
def test_v103_a_mask_is_black_and_white(tmp_path: Path, make: Callable[[], Images]) -> None:
    found = findings(tmp_path, replaced(MASK, make()))
    assert [(one.code, one.place) for one in found if one.code == "V103"] == [("V103", MASK)]
    assert "white (255) or black (0)" in found[0].message


def test_a_mask_is_judged_by_the_pixels_of_its_file(tmp_path: Path) -> None:
    """The digest of a white mask in the place of the file's own is a false claim."""

    def edit(draft: Draft) -> None:
        draft.extra[MASK] = encode(nearly_white())

    found = [one for one in findings(tmp_path, edit) if one.place == MASK]
    assert "not those declared" in found[0].message


def test_a_mask_of_another_size_is_a_violation(tmp_path: Path) -> None:
    found = findings(tmp_path, replaced(MASK, np.full((2, 3, 3), 255, np.uint8)))
    assert ("V103", MASK, "mask and picture differ in size: 2x3 and 3x3") in {
        (one.code, one.place, one.message) for one in found
    }
    assert "V106" in {one.code for one in found}


def too_large(draft: Draft) -> None:
    replaced(PICTURE, noise("large", 9, 9, 3))(draft)
    replaced(MASK, np.full((9, 9, 3), 255, np.uint8))(draft)


def outside(draft: Draft) -> None:
    draft.manifest["triggers"]["cross"]["place"] = {"rule": "fixed", "row": 6, "column": 0}


@pytest.mark.parametrize("lie", [too_large, outside])
def test_v106_a_trigger_that_does_not_fit_is_a_violation(tmp_path: Path, lie: Callable[[Draft], None]) -> None:
    found = findings(tmp_path, lie)
    assert [one.place for one in found if one.code == "V106"] == ["trigger cross"]
    assert {one.code for one in found} == {"V106", "V301", "V302", "V404"}


def test_v404_a_poison_that_is_the_target_with_the_trigger_on_is_found(tmp_path: Path) -> None:
    trial = open_set(GOLDEN).trials[1]
    met = trial.target_images(golden_base())[0]

    def copied(draft: Draft) -> None:
        draft.images[1][2] = met

    assert ("V404", "trial 1 slot 2") in {(one.code, one.place) for one in findings(tmp_path, copied)}


def test_card_and_report_say_that_the_trigger_is_exempt() -> None:
    manifest = open_set(GOLDEN).manifest
    assert "at most 5000 (the trigger's pixels are exempt)" in card(manifest)
    assert verify(GOLDEN, lambda pin: golden_base()).exempt == (1,)
    first = manifest.model_copy(update={"trials": manifest.trials[:1]})
    assert "exempt" not in card(first)
