"""Dishonesty: a set whose every hash is right and whose claims are false is exposed, to the slot and the pixel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import Draft, base_of_another_height, check, forge, small_base, small_set

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.sets import shard


@pytest.fixture(scope="module")
def base() -> Base:
    base = small_base()
    base.train.images[:, 2, 5, 1] = 0  # a black pixel in every image, for the wrap-around test
    return Base(
        base.name,
        base.classes,
        type(base.train)(base.train.images, base.train.labels),
        base.test,
        base.victim_classes,
        base.pretrain_classes,
        base.mirror,
    )


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, base: Base) -> Path:
    return small_set(tmp_path_factory.mktemp("sets") / "honest", base)


def nine_levels(draft: Draft) -> None:
    image = draft.images[1][2]
    image[3, 4, 0] = BASE_OF(draft, 1, 2)[3, 4, 0]
    image[3, 4, 0] = image[3, 4, 0] + 9 if image[3, 4, 0] < 128 else image[3, 4, 0] - 9


def wrapped(draft: Draft) -> None:
    draft.images[0][1][2, 5, 1] = 250  # the base's pixel is 0; in uint8 arithmetic the difference would be 6


def label_changed(draft: Draft) -> None:
    other = (draft.labels[0][3] + 1) % 3
    draft.labels[0][3] = draft.trial(0)["slots"]["labels"][3] = other


def label_changed_in_the_shard_alone(draft: Draft) -> None:
    draft.labels[0][3] = (draft.labels[0][3] + 1) % 3


def poison_added(draft: Draft) -> None:
    slots = draft.trial(1)["slots"]
    draft.slots[1].append(4)
    draft.images[1].append(draft.images[1][0].copy())
    draft.labels[1].append(draft.labels[1][0])
    slots["bases"].append(slots["bases"][0])
    slots["labels"].append(slots["labels"][0])
    draft.trial(1)["outcome"]["moved"] += 1


def poison_added_undeclared(draft: Draft) -> None:
    draft.slots[1].append(4)
    draft.images[1].append(draft.images[1][0].copy())
    draft.labels[1].append(draft.labels[1][0])


def poison_removed(draft: Draft) -> None:
    for column in (draft.slots, draft.images, draft.labels):
        column[1].pop(2)


def poison_removed_and_undeclared(draft: Draft) -> None:
    for column in (draft.slots, draft.images, draft.labels):
        column[1].pop()
    slots = draft.trial(1)["slots"]
    slots["bases"].pop()
    slots["labels"].pop()
    draft.trial(1)["outcome"]["moved"] -= 1


def poisons_exchanged(draft: Draft) -> None:
    images = draft.images[0]
    images[0], images[1] = images[1], images[0]


def base_changed(draft: Draft) -> None:
    bases = draft.trial(0)["slots"]["bases"]
    bases[0], bases[1] = bases[1], bases[0]


def target_changed(draft: Draft) -> None:
    target = draft.trial(0)["targets"][0]
    same = np.flatnonzero(TEST_LABELS() == target["label"])
    target["index"] = int(same[same != target["index"]][0])


def target_of_another_class(draft: Draft) -> None:
    target = draft.trial(0)["targets"][0]
    target["index"] = int(np.flatnonzero(TEST_LABELS() != target["label"])[0])


def adversarial_label_changed(draft: Draft) -> None:
    trial = draft.trial(0)
    free = {0, 1, 2} - {trial["adversarial_label"], trial["targets"][0]["label"]}
    trial["adversarial_label"] = free.pop()


def target_among_the_poisons(draft: Draft) -> None:
    draft.images[0][2] = STATE["base"].test.images[draft.trial(0)["targets"][0]["index"]].copy()


def base_that_does_not_exist(draft: Draft) -> None:
    draft.trial(0)["slots"]["bases"][0] = 36


def moved_overstated(draft: Draft) -> None:
    draft.images[0][0] = BASE_OF(draft, 0, 0).copy()


def seed_changed(draft: Draft) -> None:
    draft.manifest["setup"]["seed"] = 4


def slots_out_of_order(draft: Draft) -> None:
    for column in (draft.slots, draft.images, draft.labels):
        column[0][0], column[0][1] = column[0][1], column[0][0]


def slot_twice(draft: Draft) -> None:
    draft.slots[0][1] = 0


def base_described_falsely(draft: Draft) -> None:
    draft.manifest["base"]["classes"].append("another")


def base_of_other_sizes(draft: Draft) -> None:
    draft.manifest["base"]["splits"]["test"]["images"] += 1


def source_class_of_a_drawn_trial(draft: Draft) -> None:
    draft.trial(0)["source_classes"] = [draft.trial(0)["targets"][0]["label"]]


def list_out_of_range(draft: Draft) -> None:
    draft.trial(0)["lists"] = {"poison-train": [0, 36]}


def list_that_repeats_an_image(draft: Draft) -> None:
    draft.trial(0)["lists"] = {"poison-val": [3, 3]}


def lists_that_share_an_image(draft: Draft) -> None:
    draft.trial(0)["lists"] = {"clean-val": [1], "poison-train": [0, 1]}


def source_class_is_adversarial(draft: Draft) -> None:
    draft.trial(0)["source_classes"] = [draft.trial(0)["adversarial_label"]]


def stowaway(draft: Draft) -> None:
    draft.extra["triggers/unused.png"] = b"anything"


def file_target(draft: Draft, key: str = "00000-00000000") -> None:
    """The target as a file of the set, which is honest but for the pixels it declares."""
    target = draft.trial(0)["targets"][0]
    image = STATE["base"].test.images[target["index"]][None]
    draft.extra["targets.tar"] = shard.encode(0, 0, image, np.array([target["label"]]))
    draft.trial(0)["targets"] = [
        {"kind": "file", "key": key, "label": target["label"], "adversarial_label": None, "pixels": "0" * 64}
    ]


def file_target_missing(draft: Draft) -> None:
    file_target(draft, key="00000-00000001")


def file_target_of_another_class(draft: Draft) -> None:
    """A test image of the adversarial class, called another class: every victim would be a success."""
    file_target(draft)
    adversarial = draft.trial(0)["adversarial_label"]
    index = int(np.flatnonzero(TEST_LABELS() == adversarial)[0])
    image, target = STATE["base"].test.images[index][None], draft.trial(0)["targets"][0]
    draft.extra["targets.tar"] = shard.encode(0, 0, image, np.array([target["label"]]))
    target["pixels"] = pixel_digest(image, np.array([target["label"]], dtype=np.int64))


def supplanted_twice(draft: Draft) -> None:
    draft.trial(0)["composition"] = {"rule": "supplant", "removed": [1, 1, 2, 3]}


def supplanted_outside(draft: Draft) -> None:
    draft.trial(0)["composition"] = {"rule": "supplant", "removed": [0, 1, 2, 36]}


def supplanted_too_few(draft: Draft) -> None:
    draft.trial(0)["composition"] = {"rule": "supplant", "removed": [0]}


def l2_exceeded(draft: Draft) -> None:
    draft.trial(0)["constraint"] = {"norm": "l2", "squared_levels": 100, "exempt_trigger": False}


STATE: dict[str, Base] = {}


def BASE_OF(draft: Draft, trial: int, slot: int) -> np.ndarray:  # noqa: N802
    return STATE["base"].train.images[draft.trial(trial)["slots"]["bases"][slot]]


def TEST_LABELS() -> np.ndarray:  # noqa: N802
    return STATE["base"].test.labels


LIES: dict[Callable[[Draft], None], tuple[str, str, str]] = {
    nine_levels: ("V301", "trial 1 slot 2", "pixel (row 3, column 4, channel R) moved 9 levels, budget 8"),
    wrapped: ("V301", "trial 0 slot 1", "pixel (row 2, column 5, channel G) moved 250 levels, budget 8"),
    label_changed: ("V402", "trial 0 slot 3", "not clean"),
    label_changed_in_the_shard_alone: ("V202", "trial 0 slot 3", "declared"),
    poison_added: ("V501", "trial 1", "5 poisons, but the setup has 4"),
    poison_added_undeclared: ("V201", "trial 1 slot 4", "declares slots 0..3"),
    poison_removed: ("V201", "trial 1 slot 2", "not in the shards"),
    poison_removed_and_undeclared: ("V501", "trial 1", "3 poisons, but the setup has 4"),
    poisons_exchanged: ("V301", "trial 0 slot 0", "levels, budget 8"),
    base_changed: ("V501", "trial 0 slot 0", "draws train/"),
    target_changed: ("V501", "trial 0", "draws test/"),
    target_of_another_class: ("V403", "trial 0", "declared"),
    adversarial_label_changed: ("V501", "trial 0", "adversarial label"),
    target_among_the_poisons: ("V404", "trial 0 slot 2", "the poison is the target"),
    base_that_does_not_exist: ("V401", "trial 0 slot 0", "does not exist"),
    moved_overstated: ("V204", "trial 0", "3 poisons differ from their base, 4 declared"),
    seed_changed: ("V501", "trial 0", "seed 4 draws"),
    slots_out_of_order: ("V201", "trial 0", "ascending"),
    base_described_falsely: ("V104", "manifest.json", "4 classes, the base has 3"),
    base_of_other_sizes: ("V104", "manifest.json", "splits"),
    base_of_another_height: ("V104", "manifest.json", "splits"),
    source_class_of_a_drawn_trial: ("V501", "trial 0", "source classes"),
    list_out_of_range: ("V405", "trial 0", "train/36 does not exist; there are 36 images"),
    list_that_repeats_an_image: ("V405", "trial 0", "list poison-val: an image of the train split appears in two"),
    lists_that_share_an_image: ("V405", "trial 0", "list poison-train: an image of the train split appears in two"),
    source_class_is_adversarial: ("V405", "trial 0", "source class"),
    stowaway: ("V102", "triggers/unused.png", "nothing in the manifest refers to it"),
    file_target: ("V105", "trial 0", "other pixels than declared"),
    file_target_missing: ("V105", "trial 0", "has no sample 00000-00000001"),
    file_target_of_another_class: ("V403", "trial 0", "is test/"),
    supplanted_twice: ("V601", "trial 0", "removed twice"),
    supplanted_outside: ("V601", "trial 0", "train/36 does not exist"),
    supplanted_too_few: ("V601", "trial 0", "1 images removed for 4 poisons"),
    l2_exceeded: ("V301", "trial 0 slot 0", "squared distance"),
    slot_twice: ("V201", "trial 0 slot 0", "appears 2 times"),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: f"{LIES[lie][0].lower()}_{lie.__name__}")
def test_a_lie_is_found_where_it_was_told(
    honest: Path, tmp_path: Path, base: Base, lie: Callable[[Draft], None]
) -> None:
    STATE["base"] = base
    code, place, message = LIES[lie]
    report = check(forge(honest, tmp_path / "forged", lie), base)
    assert report.worst == 1
    found = [finding for finding in report.findings if finding.code == code and finding.place == place]
    assert any(message in finding.message for finding in found), [f.line() for f in report.findings]


def test_the_forger_itself_leaves_no_trace(honest: Path, tmp_path: Path, base: Base) -> None:
    report = check(forge(honest, tmp_path / "forged", lambda draft: None), base)
    assert report.clean, [finding.line() for finding in report.findings]
    assert (tmp_path / "forged/manifest.json").read_bytes() == (honest / "manifest.json").read_bytes()


def test_the_five_lists_of_a_partition_are_no_lie(honest: Path, tmp_path: Path, base: Base) -> None:
    def divided(draft: Draft) -> None:
        parts = {"poison-train": [2, 0], "poison-val": [1], "clean-train": [3], "clean-val": [35]}
        draft.trial(0)["lists"] = {**parts, "adversarial-test": [0, 17]}

    assert check(forge(honest, tmp_path / "forged", divided), base).clean


def test_the_findings_of_a_hostile_set_are_bounded(honest: Path, tmp_path: Path, base: Base) -> None:
    def every_label(draft: Draft) -> None:
        draft.manifest["notice"] = "\x1b[31m\n" * 50
        for number in draft.labels:
            draft.labels[number] = [2 - label for label in draft.labels[number]]

    report = check(forge(honest, tmp_path / "forged", every_label), base)
    assert report.worst == 1
    assert all(finding.line().isprintable() and len(finding.line()) <= 400 for finding in report.findings)


@pytest.mark.parametrize(
    ("code", "lie"),
    [
        ("V101", lambda document: document.update(content_digest="0" * 64)),
        ("V203", lambda document: document["trials"][0].update(pixels="0" * 64)),
    ],
    ids=["v101", "v203"],
)
def test_false_digests_are_found(
    honest: Path, tmp_path: Path, base: Base, code: str, lie: Callable[[dict[str, Any]], None]
) -> None:
    copy = Path(shutil.copytree(honest, tmp_path / "copy"))
    document = canonical_json.loads((copy / "manifest.json").read_bytes(), "manifest.json")
    lie(document)
    (copy / "manifest.json").write_bytes(canonical_json.checksummed(document))
    report = check(copy, base)
    assert report.worst == 1
    assert code in {finding.code for finding in report.findings}


def test_trials_that_were_picked_are_named_as_not_checked(tmp_path: Path, base: Base, honest: Path) -> None:
    def first_dropped(draft: Draft) -> None:
        draft.manifest["trials"].pop(0)
        for column in (draft.slots, draft.labels, draft.images):
            column.pop(0)

    assert not any("chosen for their outcome" in words for words in check(honest, base).not_checked)
    report = check(forge(honest, tmp_path / "picked", first_dropped), base)
    assert report.clean
    assert any("the seed draws more than 1" in words for words in report.not_checked)
