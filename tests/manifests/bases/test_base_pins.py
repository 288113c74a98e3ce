"""A set takes any base with its images: names are hints, the set says which classes victims know."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from golden.making import GOLDEN, golden_base

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.verify import verify


def test_a_base_as_pinned_has_the_classes_of_the_set() -> None:
    base = golden_base()
    pin = base.pin().model_copy(update={"victim_classes": (2, 1), "name": "another"})
    seen = base.as_pinned(pin)
    assert seen == replace(base, victim_classes=(2, 1))
    assert base.victim_classes == (0, 1, 2)


@pytest.mark.parametrize("split", ["train", "test"])
def test_another_base_is_refused_with_both_names(split: str) -> None:
    base = golden_base()
    changed = Split(base.split(split).images, base.split(split).labels[::-1])
    other = replace(base, name="other", **{split: changed})
    with pytest.raises(MissingError, match=rf"the base golden \({split} split .*other has {changed.digest[:12]}"):
        other.as_pinned(base.pin())
    with pytest.raises(MissingError):
        verify(GOLDEN, lambda pin: other)
    with pytest.raises(MissingError):
        open_set(GOLDEN).trials[0].training_set(other)


def test_h101_other_class_names_are_a_hint_and_no_fault() -> None:
    renamed = replace(golden_base(), name="copy", classes=("zero", "uno", "due"), victim_classes=(0, 1))
    report = verify(GOLDEN, lambda pin: renamed)
    assert (report.worst, report.clean) == (0, True)
    (found,) = report.findings
    assert (found.code, found.kind) == ("H101", "hint")
    assert "'one', copy calls it 'uno'; 2 differ" in found.message


def test_a_training_set_has_the_rows_of_the_classes_of_the_set(tmp_path: Path) -> None:
    """Whatever the victim classes of the base at hand are."""
    trial = open_set(GOLDEN).trials[0]
    narrow = replace(golden_base(), victim_classes=(0,))
    assert len(trial.training_set(narrow).labels) == len(trial.training_set(golden_base()).labels) == 36
    copy = Path(shutil.copytree(GOLDEN, tmp_path / "copy"))
    document = canonical_json.loads((copy / "manifest.json").read_bytes(), "manifest.json")
    document["base"]["victim_classes"] = [0, 1]
    (copy / "manifest.json").write_bytes(canonical_json.checksummed(document))
    assert len(open_set(copy).trials[0].training_set(golden_base()).labels) == 24
    # The claim is part of the set's identity.
    assert "V101" in {found.code for found in verify(copy, lambda pin: golden_base()).findings}
