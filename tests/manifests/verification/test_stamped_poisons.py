"""Stamped poisons: a dirty label with a trigger claims `stamp(base)`, and a hidden trigger is not to be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import Draft, check, forge, small_base, small_set
from golden.making import cross

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, image_digest
from poisonsets.manifests.files.png import encode
from poisonsets.manifests.overlay.stamp import stamp

LINF: dict[str, Any] = {"norm": "linf", "levels": 255, "exempt_trigger": False}
EXEMPT: dict[str, Any] = {**LINF, "exempt_trigger": True}
NONE: dict[str, Any] = {"norm": "none"}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, base: Base) -> Path:
    return small_set(tmp_path_factory.mktemp("sets") / "honest", base, trials=1)


def backdoor(
    base: Base, labels: str, constraint: dict[str, Any], change: Callable[[list[Images]], None] = lambda images: None
) -> Callable[[Draft], None]:
    """A trial of stamped bases; what is not declared about them is up to the caller."""

    def edit(draft: Draft) -> None:
        trigger, trial = cross(), draft.trial(0)
        draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
        draft.manifest["triggers"] = {"cross": trigger.record.model_dump(mode="json")}
        pictures = trigger.pictures()
        draft.manifest["trigger_pixels"] = {path: image_digest(picture) for path, picture in pictures.items()}
        draft.extra.update({path: encode(picture) for path, picture in pictures.items()})
        trial.update(labels=labels, constraint=constraint, trigger="cross", outcome=None)
        if labels == "adversarial":
            other = (trial["adversarial_label"] + 1) % 3
            trial["slots"]["bases"] = [i for i, label in enumerate(base.train.labels) if label == other][:4]
        bases = trial["slots"]["bases"]
        draft.images[0] = [stamp(base.train.images[i], trigger, f"train/{i}") for i in bases]
        change(draft.images[0])

    return edit


def one_value(images: list[Images]) -> None:
    images[2][7, 1, 1] ^= 1


def test_v303_a_dirty_label_is_a_stamped_base_and_no_more(honest: Path, tmp_path: Path, base: Base) -> None:
    assert check(forge(honest, tmp_path / "stamped", backdoor(base, "adversarial", NONE)), base).findings == ()
    report = check(forge(honest, tmp_path / "changed", backdoor(base, "adversarial", NONE, one_value)), base)
    (found,) = report.findings
    assert (report.worst, found.code, found.place) == (1, "V303", "trial 0 slot 2")
    assert "pixel (row 7, column 1) is not that of train/" in found.message
    assert "1 such" in found.message


def unstamped(images: list[Images]) -> None:
    images[1][:] = small_base().train.images[0]


def test_v303_a_trigger_that_was_left_out_is_found(honest: Path, tmp_path: Path, base: Base) -> None:
    report = check(forge(honest, tmp_path / "set", backdoor(base, "adversarial", NONE, unstamped)), base)
    assert [(one.code, one.slot) for one in report.findings] == [("V303", 1)]


@pytest.mark.parametrize(("labels", "constraint"), [("clean", NONE), ("adversarial", EXEMPT), ("adversarial", LINF)])
def test_other_sets_do_not_claim_it(
    honest: Path, tmp_path: Path, base: Base, labels: str, constraint: dict[str, Any]
) -> None:
    report = check(forge(honest, tmp_path / "set", backdoor(base, labels, constraint, one_value)), base)
    assert report.worst == 0


def covered(images: list[Images]) -> None:
    """One level away from the trigger everywhere, as no pixel of a hidden one need be."""
    for image in images[1:]:
        image ^= 1


def test_h301_a_trigger_that_is_left_visible(honest: Path, tmp_path: Path, base: Base) -> None:
    report = check(forge(honest, tmp_path / "all", backdoor(base, "clean", LINF)), base)
    (found,) = report.findings
    assert (report.worst, found.code, found.kind, found.place) == (0, "H301", "hint", "trial 0 slot 0")
    assert found.message.startswith("4 of 4 poisons show the trigger")
    report = check(forge(honest, tmp_path / "one", backdoor(base, "clean", LINF, covered)), base)
    assert [one.message[:6] for one in report.findings] == ["1 of 4"]
    assert check(forge(honest, tmp_path / "exempt", backdoor(base, "clean", EXEMPT)), base).findings == ()
