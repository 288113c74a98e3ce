"""Hints: what is worth knowing of an honest set, each said once a trial, and none of it a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forge import Draft, check, forge, small_base, small_set

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.verification.checks.compat import published_checker
from poisonsets.manifests.verification.findings import Finding, Findings, Report
from poisonsets.manifests.verification.verify import verify

Edit = Callable[[Draft], None]


def foreign(draft: Draft) -> None:
    """A set made elsewhere, without a record of what crafting came to."""
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
    for trial in draft.manifest["trials"]:
        trial["outcome"] = None


def hints(report: Report, code: str) -> list[Finding]:
    assert report.worst == 0, [one.line() for one in report.findings]
    assert report.clean
    assert all(one.kind == "hint" for one in report.findings)
    assert report.hints == report.total
    return [one for one in report.findings if one.code == code]


def told(honest: Path, tmp_path: Path, base: Base, code: str, edit: Edit) -> Finding:
    (found,) = hints(check(forge(honest, tmp_path / "forged", edit), base), code)
    return found


def test_h201_poisons_equal_to_one_another(honest: Path, tmp_path: Path, base: Base) -> None:
    def repeated(draft: Draft) -> None:
        foreign(draft)
        slots = draft.trial(0)["slots"]
        for slot in (1, 3):
            draft.images[0][slot] = draft.images[0][0]
            slots["bases"][slot] = slots["bases"][0]

    found = told(honest, tmp_path, base, "H201", repeated)
    assert (found.place, found.slot) == ("trial 0 slot 1", 1)
    assert found.message == "has the pixels of slot 0; 2 poisons repeat an earlier one"


def unmoved(draft: Draft, base: Base) -> None:
    foreign(draft)
    for slot in (2, 3):
        draft.images[1][slot] = base.train.images[draft.trial(1)["slots"]["bases"][slot]]


def test_h202_poisons_that_never_moved(honest: Path, tmp_path: Path, base: Base) -> None:
    found = told(honest, tmp_path, base, "H202", lambda draft: unmoved(draft, base))
    assert found.place == "trial 1 slot 2"
    assert found.message.startswith("2 of 4 poisons are their own base")


def test_an_unmoved_poison_under_another_label_does_something(honest: Path, tmp_path: Path, base: Base) -> None:
    def flipped(draft: Draft) -> None:
        unmoved(draft, base)
        trial = draft.trial(1)
        trial["labels"] = "adversarial"
        draft.labels[1] = trial["slots"]["labels"] = [(label + 1) % 3 for label in draft.labels[1]]

    assert hints(check(forge(honest, tmp_path / "forged", flipped), base), "H202") == []


def doubled(base: Base, index: int, target: int) -> Base:
    """The base with a training image that is a test image too."""
    images = base.train.images.copy()
    images[index] = base.test.images[target]
    return replace(base, train=Split(images, base.train.labels))


@pytest.mark.parametrize("role", ["kept", "replaced", "removed", "of an unknown class"])
def test_h401_a_target_that_the_base_itself_holds_twice(tmp_path: Path, base: Base, role: str) -> None:
    """No violation, whoever drew it: the author did not make the base."""
    plain = small_set(tmp_path / "plain", base)
    from poisonsets.manifests.sets.reader import open_set

    record = open_set(plain).trials[0].record
    target = record.targets[0]
    twin = int(np.flatnonzero(base.train.labels == target.label)[0])  # drawn trials stay as they are
    found_base = doubled(base, twin, getattr(target, "index"))  # noqa: B009
    made = small_set(tmp_path / "set", found_base)

    def edit(draft: Draft) -> None:
        foreign(draft)
        trial = draft.trial(0)
        if role == "replaced":
            trial["slots"]["bases"][0] = twin
            trial["labels"], trial["constraint"] = "adversarial", {"norm": "none"}
        elif role == "removed":
            trial["composition"] = {"rule": "supplant", "removed": [twin, *(i for i in range(4) if i != twin)][:4]}
        elif role == "of an unknown class":
            draft.manifest["base"]["victim_classes"] = [label for label in range(3) if label != target.label]

    found = hints(check(forge(made, tmp_path / "forged", edit), found_base), "H401")
    assert [one.place for one in found if one.trial == 0] == (["trial 0"] if role == "kept" else [])
    assert role != "kept" or f"also the training image train/{twin}, of class {target.label}" in found[0].message


def test_h402_test_images_among_the_poisons(honest: Path, tmp_path: Path, base: Base) -> None:
    def copied(draft: Draft) -> None:
        foreign(draft)
        draft.trial(0)["constraint"] = {"norm": "none"}
        other = next(i for i in range(len(base.test.labels)) if i != draft.trial(0)["targets"][0]["index"])
        draft.images[0][1] = base.test.images[other]

    found = told(honest, tmp_path, base, "H402", copied)
    assert found.place == "trial 0 slot 1"
    assert "1 poisons are test images, this one test/" in found.message


def supplanting(removed: Callable[[int], int]) -> Edit:
    def edit(draft: Draft) -> None:
        foreign(draft)
        trial = draft.trial(0)
        label = removed(trial["adversarial_label"])
        chosen = np.flatnonzero(small_base().train.labels == label)[:4].tolist()
        trial["composition"] = {"rule": "supplant", "removed": chosen}

    return edit


def test_h601_class_sizes_that_supplanting_changes(honest: Path, tmp_path: Path, base: Base) -> None:
    found = told(honest, tmp_path, base, "H601", supplanting(lambda label: (label + 1) % 3))
    assert found.place == "trial 0"
    assert "16 for 12" in found.message
    assert "8 for 12" in found.message
    same = forge(honest, tmp_path / "same", supplanting(lambda label: label))
    assert hints(check(same, base), "H601") == []


@pytest.mark.parametrize(
    ("levels", "said"), [(9, "accepts all 2 trials (9 levels, labels"), (10, "refuses 1 of 2 trials")]
)
def test_h302_what_the_published_checker_says(honest: Path, tmp_path: Path, base: Base, levels: int, said: str) -> None:
    """Nine levels pass for eight; it never changes the exit code, which is that of our own checks."""

    def moved(draft: Draft) -> None:
        image = draft.images[1][2]
        clean = base.train.images[draft.trial(1)["slots"]["bases"][2]]
        image[0, 0, 0] = int(clean[0, 0, 0]) + (levels if clean[0, 0, 0] < 128 else -levels)

    forged = forge(honest, tmp_path / "forged", moved)
    report = verify(forged, lambda pin: base, compat=True)
    (found,) = [one for one in report.findings if one.code == "H302"]
    assert said in found.message
    assert found.place == ("the set" if levels == 9 else "trial 1")
    assert report.worst == check(forged, base).worst == 1
    assert "H302" not in {one.code for one in check(forged, base).findings}
    assert verify(honest, lambda pin: base, compat=True).worst == 0
    assert "1e-5" in (published_checker.__doc__ or "")


def test_hints_cannot_hide_a_graver_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poisonsets.manifests.limits.FINDINGS_KEPT", 3)
    findings = Findings()
    for number in range(5):
        findings.add(Finding("H201", "", part=str(number)))
    for number in range(4):
        findings.add(Finding("V301", "", part=str(number)))
    findings.add(Finding("H201", "", part="last"))
    violations, hinted = findings.by_code()
    assert [one.place for one in violations.first] == ["0", "1", "2"]
    assert (violations.code, violations.count, hinted.code, hinted.count) == ("V301", 4, "H201", 6)
    assert findings.worst == 1
