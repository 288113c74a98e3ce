"""A results folder keeps rows honest: what was edited, mixed up or made otherwise is not published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from standin import job_identity

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.results.folder import open_results
from poisonsets.victims.scoring.score import Score, score_set

CPU = torch.device("cpu")
PROTOCOL = parse("digits-transfer/convnet@composition=in-place,epochs=2,lr_milestones=none,batch=16,width=0.25,pad=1")
Again = Callable[..., Score]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "r"


@pytest.fixture
def again(tiny_base: Base, makers: Any, extractor: Weights, results: Path) -> Again:
    """Score one trial into the folder, with `resume` where it is there."""

    def run(opened: Any = None, base: Base = tiny_base) -> Score:
        return score_set(
            opened or makers.set_of(makers.trial()),
            base,
            protocols=[PROTOCOL],
            extractors=[extractor],
            results=results,
            resume=(results / "settings.json").exists(),
            device=CPU,
        )

    return run


def edit(results: Path, **changes: Any) -> Path:
    """Change the only row and recompute its checksum."""
    (path,) = (results / "rows").iterdir()
    document = json.loads(path.read_bytes())
    document |= changes
    path.write_bytes(canonical_json.checksummed(document))
    return path


def test_an_edit_without_its_checksum_is_damage(again: Again, results: Path) -> None:
    again()
    (path,) = (results / "rows").iterdir()
    text = path.read_text()
    changed = text.replace('"seconds":"', '"seconds":"1')
    assert changed != text
    path.write_text(changed)
    with pytest.raises(DamagedError, match=f"{path.name}.*checksum"):
        again()


def target(predicted: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"label": 2, "adversarial_label": 3, "predicted_poisoned": predicted, "predicted_control": 2} | changes]


@pytest.mark.parametrize(
    "changes",
    [
        {"success": True, "targets": target(2)},
        {"success": False, "targets": target(3)},
        {"success": False, "control": True, "targets": target(2)},
        {"success": False, "control": None, "targets": target(2)},
        {"success": True, "targets": []},
        {"success": True, "control": False, "targets": target(3, label=3)},
        {"success": False, "control": False, "targets": target(2, adversarial_label=1)},
        {"clean_correct": 21},
        {"control_correct": 21},
        {"control_rows": None},
        {"poisons": 10_000},
        {"network": "resnet18"},
        {"width": "1"},
        {"extractor": "a" * 64},
        {"victim_seed": 1},
        {"victim_classes": [0, 1]},
    ],
    ids=str,
)
def test_a_row_that_contradicts_itself_or_its_job_is_damage(
    again: Again, results: Path, changes: dict[str, Any]
) -> None:
    again()
    path = edit(results, **changes)
    with pytest.raises(DamagedError, match=path.stem[:12]):
        again()


def test_the_honest_edit_is_read(again: Again, results: Path) -> None:
    """So that the refusals above are not those of any row that `edit` touched."""
    again()
    edit(results, seconds="7.000")
    assert again().rows[0].seconds == "7.000"


@pytest.mark.parametrize("key", ["device", "torch", "victim_classes", "strange"])
def test_settings_that_differ_in_a_key_are_named_with_it(again: Again, results: Path, key: str) -> None:
    again()
    path = results / "settings.json"
    # None, which is also what a mapping says of a key that it does not have.
    path.write_bytes(canonical_json.dumps(json.loads(path.read_bytes()) | {key: None}))
    with pytest.raises(MissingError, match=rf"other settings \({key} is None"):
        again()


def test_what_a_killed_start_left_is_swept_away(again: Again, results: Path) -> None:
    results.mkdir()
    (results / "settings.json.0123456789ab.tmp").write_bytes(b"{")
    again()
    assert sorted(path.name for path in results.iterdir()) == ["rows", "settings.json"]
    (results / "rows" / f"{'a' * 64}.json.0123456789ab.tmp").write_bytes(b"{")
    again()
    assert not list(results.rglob("*.tmp"))


def test_files_of_others_are_not_swept_away(results: Path) -> None:
    results.mkdir()
    (results / "thesis.tmp").write_text("mine")
    with pytest.raises(MissingError, match="not empty"), open_results(results, {}, resume=False):
        pass
    assert (results / "thesis.tmp").read_text() == "mine"


def test_the_folder_is_locked_while_it_is_written(again: Again, results: Path) -> None:
    again()
    with store.locked(results), pytest.raises(MissingError, match="another process"):
        again()
    again()


def test_equal_trials_for_other_classes_are_other_jobs() -> None:
    keys = {job_identity(victim_classes=classes).key for classes in ((2, 3), (3, 2), (1, 2, 3))}
    assert len(keys) == 3


def test_the_threat_level_is_that_of_the_set_at_hand(again: Again, makers: Any, extractor: Weights) -> None:
    """Sets that differ in their surrogates alone have one content digest, and so the same jobs."""
    first = again()
    known = SurrogateRecord(digest=extractor.digest, network="convnet", pretraining={"width": "0.25"})
    second = again(makers.set_of(makers.trial(), surrogates=(known,)))
    assert (first.rows[0].threat_level, second.rows[0].threat_level) == ("black-box", "white-box")
    assert second.summaries[0].threat_levels == ("white-box",)
    assert second.rows[0].seconds == first.rows[0].seconds
