"""A targets file is read strictly, and the ones that the documents show are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poisonsets.manifests.errors import DamagedError, MissingError, UnsupportedError, UsageError
from poisonsets.manifests.training_sets.targets_file import read_targets, source_targets

PAGE = Path(__file__).resolve().parents[3] / "docs" / "third-party.md"
ONE = {"split": "test", "index": 1, "label": 5, "adversarial_label": 8}
SINE = {"kind": "sine", "amplitude": "0.4", "frequency": "5.6", "alpha": "0.1"}


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "targets.json"
    path.write_text(json.dumps({"format": "poisonset-targets/1", **fields}))
    return path


def test_the_pages_examples_are_read(tmp_path: Path) -> None:
    single, classes = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "single.json").write_text(single)
    asked = read_targets(tmp_path / "single.json")
    assert [(one.split, one.index, one.label, one.adversarial_label) for one in asked.record.targets] == [
        ("test", 1, 5, 8),
        ("test", 2, 9, 8),
    ]
    assert asked.trigger is None
    (tmp_path / "classes.json").write_text(classes)
    with pytest.raises(MissingError, match=r"square\.png"):
        read_targets(tmp_path / "classes.json")
    (tmp_path / "triggers").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "triggers" / "square.png")
    asked = read_targets(tmp_path / "classes.json")
    assert (asked.record.source_classes, asked.record.adversarial_label) == ((5,), 8)
    assert asked.trigger is not None
    assert asked.trigger.image is not None
    assert np.array_equal(asked.trigger.image, picture)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"targets": []},
        {"targets": [ONE], "source_classes": [5], "adversarial_label": 8},
        {"targets": [ONE], "adversarial_label": 8},
        {"source_classes": [5]},
        {"source_classes": [5, 5], "adversarial_label": 8},
        {"source_classes": [5, 8], "adversarial_label": 8},
        {"targets": [ONE, ONE]},
        {"targets": [ONE | {"label": 8}]},
        {"targets": [ONE | {"index": -1}]},
        {"targets": [ONE | {"index": 1.0}]},
        {"targets": [ONE | {"index": "1"}]},
        {"targets": [ONE | {"split": "validation"}]},
        {"targets": [ONE | {"weight": 1}]},
        {"targets": [ONE], "format": "poisonset-targets/2"},
        {"targets": [ONE], "trigger": SINE | {"alpha": 0.1}},
        {"targets": [ONE], "trigger": {"kind": "image", "image": "../up.png", "alpha": "0.1"}},
        {"targets": [ONE], "trigger": {"kind": "image", "image": "/etc/up.png", "alpha": "0.1"}},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    said = r"targets\.json: not a (poisonset-targets/1 file|readable JSON document \(the number)"
    with pytest.raises(DamagedError, match=said):
        read_targets(written(tmp_path, **fields))


@pytest.mark.parametrize("text", ["", "[", '{"format": NaN}', '{"a": 1, "a": 1}', "[" * 100_000, "\xff"])
def test_what_is_no_json_document_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text, encoding="latin1")
    with pytest.raises(DamagedError, match=r"t\.json: not a"):
        read_targets(tmp_path / "t.json")


def test_a_trigger_that_nothing_here_stamps_is_refused_before_its_picture(tmp_path: Path) -> None:
    file = written(tmp_path, targets=[ONE], trigger={"kind": "additive", "image": "triggers/none.png"})
    with pytest.raises(UnsupportedError, match=r"targets\.json: trigger: kind additive: not supported"):
        read_targets(file)


def test_a_trigger_is_given_once(tmp_path: Path) -> None:
    asked = read_targets(written(tmp_path, targets=[ONE], trigger=SINE))
    assert asked.trigger is not None
    with pytest.raises(UsageError, match="a trigger of its own"):
        asked.with_trigger(asked.trigger)
    plain = read_targets(written(tmp_path, targets=[ONE]))
    assert plain.with_trigger(asked.trigger).identity() == asked.identity() != plain.identity()


def test_a_linked_picture_is_not_followed(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "real.png")
    (tmp_path / "t.png").symlink_to(tmp_path / "real.png")
    with pytest.raises(DamagedError, match=r"t\.png"):
        read_targets(written(tmp_path, targets=[ONE], trigger={"kind": "image", "image": "t.png", "alpha": "0.1"}))


def test_a_picture_in_a_linked_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "real" / "t.png")
    trigger = {"kind": "image", "image": "triggers/t.png", "alpha": "0.1"}
    file = written(tmp_path, targets=[ONE], trigger=trigger)
    (tmp_path / "triggers").symlink_to(tmp_path / "real")
    with pytest.raises(DamagedError, match=r"triggers/t\.png: lies in a linked folder"):
        read_targets(file)
    (tmp_path / "triggers").unlink()
    (tmp_path / "real").rename(tmp_path / "triggers")
    assert read_targets(file).trigger is not None


@pytest.mark.parametrize(("classes", "label"), [((), 8), ((5, 5), 8), ((8,), 8), ((5,), -1)])
def test_source_classes_are_checked_as_in_a_file(classes: tuple[int, ...], label: int) -> None:
    with pytest.raises(UsageError, match="source classes"):
        source_targets(classes, label)
