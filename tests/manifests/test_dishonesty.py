"""Dishonesty: a set whose every hash is right and whose claims are false is exposed, to the slot and the pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forge import Draft, check, forge, small_base, small_set

from poisonsets.manifests.bases.dataset import Base


@pytest.fixture(scope="module")
def base() -> Base:
    base = small_base()
    base.train.images[:, 2, 5, 1] = 0  # a black pixel in every image, for the wrap-around test
    return Base(
        base.name,
        base.classes,
        type(base.train).of(base.train.images, base.train.labels),
        base.test,
        base.poison_classes,
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
    slot_twice: ("V201", "trial 0 slot 0", "stands 2 times"),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
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


def test_the_findings_of_a_hostile_set_are_bounded(honest: Path, tmp_path: Path, base: Base) -> None:
    def every_label(draft: Draft) -> None:
        draft.manifest["name"] = "\x1b[31m\n" * 50
        for number in draft.labels:
            draft.labels[number] = [2 - label for label in draft.labels[number]]

    report = check(forge(honest, tmp_path / "forged", every_label), base)
    assert report.worst == 1
    assert all(finding.line().isprintable() and len(finding.line()) <= 400 for finding in report.findings)
