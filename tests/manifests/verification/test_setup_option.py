"""verify --setup: a set's trials beside the setup file or name that the user gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import Draft, forge, small_base

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, image_digest
from poisonsets.manifests.records.origin import NamedSetup
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.trials.setup_file import SetupFile, read_setup
from poisonsets.manifests.verification.findings import Report
from poisonsets.manifests.verification.verify import verify

Edit = Callable[[Draft], None]


@pytest.fixture(scope="module")
def setup(honest: Path, tmp_path_factory: pytest.TempPathFactory, base: Base) -> SetupFile:
    """The setup file that the honest set's trials are of."""
    trials = []
    for trial in open_set(honest).manifest.trials:
        (target,) = trial.targets
        trials.append(
            {
                "target_index": getattr(target, "index"),  # noqa: B009
                "target_class": target.label,
                "base_class": trial.adversarial_label,
                "base_indices": list(trial.slots.bases),
            }
        )
    path = tmp_path_factory.mktemp("setups") / "ours.json"
    path.write_text(json.dumps({"format": "poisonset-setups/1", "trials": trials}))
    return read_setup(path)


def of_a_file(draft: Draft, setup: SetupFile) -> None:
    draft.manifest["setup"] = {"kind": "file", "name": "ours.json", "digest": setup.record.digest}


def of_another_file(draft: Draft, setup: SetupFile) -> None:
    digest = hashlib.sha256(b"another").hexdigest()
    draft.manifest["setup"] = {"kind": "file", "name": "ours.json", "digest": digest}


def foreign(draft: Draft, setup: SetupFile) -> None:
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}


def checked(honest: Path, tmp_path: Path, base: Base, setup: SetupFile | NamedSetup | None, *edits: Edit) -> Report:
    def edit(draft: Draft) -> None:
        for one in edits:
            one(draft)

    return verify(forge(honest, tmp_path / "forged", edit), lambda pin: base, setup=setup)


@pytest.mark.parametrize("kind", [of_a_file, foreign, None])
def test_the_trials_of_a_setup_are_accepted(
    honest: Path, tmp_path: Path, base: Base, setup: SetupFile, kind: Callable[[Draft, SetupFile], None] | None
) -> None:
    edits = [] if kind is None else [lambda draft: kind(draft, setup)]
    report = checked(honest, tmp_path, base, setup, *edits)
    assert report.findings == ()
    assert not any("setup file" in words for words in report.not_checked)
    without = verify(tmp_path / "forged", lambda pin: base)
    assert any("setup file" in words for words in without.not_checked) == (kind is not None)


def test_v502_another_file_than_the_one_named(honest: Path, tmp_path: Path, base: Base, setup: SetupFile) -> None:
    report = checked(honest, tmp_path, base, setup, lambda draft: of_another_file(draft, setup))
    assert [(one.code, one.place) for one in report.findings] == [("V502", "manifest.json")]
    assert setup.record.digest[:12] in report.findings[0].message
    named = verify(tmp_path / "forged", lambda pin: base, setup=NamedSetup(name="witches-brew-cifar10"))
    assert {one.code for one in named.findings} == {"V502", "V503"}


def another_target(draft: Draft) -> None:
    target, labels = draft.trial(0)["targets"][0], small_base().test.labels
    same = np.flatnonzero(labels == target["label"])
    target["index"] = int(same[same != target["index"]][0])


def another_base(draft: Draft) -> None:
    slots, labels = draft.trial(0)["slots"], small_base().train.labels
    unused = [i for i in np.flatnonzero(labels == slots["labels"][0]).tolist() if i not in slots["bases"]]
    slots["bases"][1] = unused[0]
    draft.images[0][1] = small_base().train.images[unused[0]]


def unknown_base(draft: Draft) -> None:
    trial = draft.trial(0)
    trial["slots"]["bases"][1] = None
    trial["labels"], trial["constraint"] = "adversarial", {"norm": "none"}


def poison_left_out(draft: Draft) -> None:
    slots = draft.trial(0)["slots"]
    for column in (draft.slots[0], draft.images[0], draft.labels[0], slots["bases"], slots["labels"]):
        column.pop()


def another_label(draft: Draft) -> None:
    trial = draft.trial(0)
    trial["adversarial_label"] = ({0, 1, 2} - {trial["adversarial_label"], trial["targets"][0]["label"]}).pop()


def trial_that_the_setup_lacks(draft: Draft) -> None:
    draft.manifest["trials"][1]["trial"] = 7
    for column in (draft.slots, draft.images, draft.labels):
        column[7] = column.pop(1)


LIES: dict[Edit, str] = {
    another_target: "target test/",
    another_base: "bases in the setup and not in the trial: 1, train/",
    unknown_base: "bases in the trial and not in the setup: 1, an unknown one",
    poison_left_out: "3 poisons, but the setup has 4",
    another_label: "adversarial label",
    trial_that_the_setup_lacks: "trial 7 is outside 0-1",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_v503_a_trial_that_is_not_the_setups(
    honest: Path, tmp_path: Path, base: Base, setup: SetupFile, lie: Edit
) -> None:
    def without_outcome(draft: Draft) -> None:
        draft.trial(0)["outcome"] = None

    report = checked(honest, tmp_path, base, setup, lambda draft: foreign(draft, setup), without_outcome, lie)
    assert report.worst == 1
    assert {one.code for one in report.findings if one.kind == "violation"} == {"V503"}
    assert any(LIES[lie] in one.message for one in report.findings), [one.line() for one in report.findings]


def target_in_a_file(draft: Draft, image: Images) -> None:
    """The first trial's target as a file target of these pixels."""
    label = draft.trial(0)["targets"][0]["label"]
    draft.extra["targets.tar"] = shard.encode(0, 0, image[None], np.array([label]))
    target = {"kind": "file", "key": "00000-00000000", "label": label, "adversarial_label": None}
    draft.trial(0)["targets"] = [target | {"pixels": image_digest(image, label)}]


def test_v503_a_target_as_a_file_is_called_by_its_key(
    honest: Path, tmp_path: Path, base: Base, setup: SetupFile
) -> None:
    def other_file(draft: Draft) -> None:
        foreign(draft, setup)
        draft.trial(0)["outcome"] = None
        target_in_a_file(draft, np.full(base.test.images.shape[1:], 7, np.uint8))

    report = checked(honest, tmp_path, base, setup, other_file)
    (found,) = [one for one in report.findings if one.kind == "violation"]
    assert (found.code, found.trial) == ("V503", 0)
    assert found.message.startswith("target file/00000-00000000, but the setup has test/")


def test_bases_in_another_order_and_a_target_as_a_file_are_the_same_trial(
    honest: Path, tmp_path: Path, base: Base, setup: SetupFile
) -> None:
    def elsewhere(draft: Draft) -> None:
        foreign(draft, setup)
        trial: dict[str, Any] = draft.trial(0)
        trial["slots"]["bases"].reverse()
        draft.images[0].reverse()
        target_in_a_file(draft, base.test.images[trial["targets"][0]["index"]])

    assert checked(honest, tmp_path, base, setup, elsewhere).findings == ()
