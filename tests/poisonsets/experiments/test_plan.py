"""What an audit is going to run, and how long it says that takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from poisonsets.experiments.audit import estimate
from poisonsets.experiments.audit.plan import AuditPlan, PlannedSet
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.weights import Weights


def base(per_class: int = 30, *, mirror: bool = True, classes: tuple[str, ...] = ("a", "b")) -> Base:
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), per_class)
    split = Split(np.zeros((len(labels), 8, 8, 3), dtype=np.uint8), labels)
    known = tuple(range(len(classes)))
    return Base("small", classes, split, split, known, known, mirror)


@pytest.fixture
def plan(tiny_weights: tuple[Weights, ...]) -> AuditPlan:
    return AuditPlan(base(), tiny_weights[0], tiny_weights[1])


@pytest.mark.parametrize(
    ("epsilons", "poisons", "wanted"),
    [
        ((4, 8, 16), (10, 25), (25, 8)),
        ((16,), (5,), (5, 16)),
        ((4, 12), (20, 30), (20, 4)),
        ((1, 255), (1, 10), (10, 1)),
    ],
)
def test_the_sentence_is_of_the_usual_budget_or_the_nearest(
    plan: AuditPlan, epsilons: tuple[int, ...], poisons: tuple[int, ...], wanted: tuple[int, int]
) -> None:
    found = replace(plan, epsilons=epsilons, poisons=poisons).headline
    assert (found.poisons, found.epsilon) == wanted


def test_every_budget_meets_the_usual_victims_and_the_sentences_set_the_others(plan: AuditPlan) -> None:
    grown = replace(plan, epsilons=(4, 8), poisons=(10, 25), finetune=True)
    sets = {
        (attack, count, levels) for attack in ("bullseye-polytope", "noise") for count in (10, 25) for levels in (4, 8)
    }
    assert set(grown.sets) == {PlannedSet(*one) for one in sets} | {
        PlannedSet("patch-backdoor", count, None) for count in (10, 25)
    }
    usual = [cell for cell in grown.cells if cell.victims.kind == "known"]
    assert [cell.poisoned for cell in usual] == list(grown.sets)
    assert {cell.victims.protocol.augment for cell in usual} == {"none"}
    others = {cell.victims.kind: cell for cell in grown.cells if cell.victims.kind != "known"}
    assert {cell.poisoned for cell in others.values()} == {PlannedSet("bullseye-polytope", 25, 8)}
    assert set(others) == {"unknown", "augmented", "finetuned"}
    assert others["unknown"].victims.extractor is plan.extractor
    assert others["augmented"].victims.protocol.flip
    assert others["finetuned"].victims.protocol.training == "end-to-end"
    assert len({cell.name for cell in grown.cells}) == len(grown.cells)


def test_images_that_change_meaning_in_a_mirror_are_not_mirrored(plan: AuditPlan) -> None:
    found = replace(plan, base=base(mirror=False), extractor=None)
    (augmented,) = (cell.victims.protocol for cell in found.cells if cell.victims.kind == "augmented")
    assert (augmented.flip, augmented.pad) == (False, 4)


def test_a_class_without_enough_images_is_refused(plan: AuditPlan) -> None:
    replace(plan, base=base(25))
    with pytest.raises(UsageError, match="class a of small has 24 training images, 25 poisons were asked for"):
        replace(plan, base=base(24))
    with pytest.raises(UsageError, match="one class"):
        replace(plan, base=base(classes=("a",)))


def test_the_time_grows_with_what_is_asked_for(plan: AuditPlan) -> None:
    speed = estimate.Speed(forward=0.002, step=0.005)
    usual = estimate.seconds(plan, speed, 2)
    assert estimate.seconds(replace(plan, steps=200), speed, 2) - usual == pytest.approx(3 * 20 * 100 * 25 * 0.005 / 2)
    assert estimate.seconds(plan, speed, 1) > 1.5 * usual
    assert estimate.seconds(replace(plan, finetune=True), speed, 2) - usual > 0.9 * 21 * 60 * 60 * 0.006 / 2
    assert estimate.seconds(replace(plan, extractor=None), speed, 1) < estimate.seconds(plan, speed, 1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "less than a minute"), (61, "about 1 minute"), (400, "about 7 minutes"), (9000, "about 2.5 hours")],
)
def test_a_duration_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert estimate.in_words(seconds) == words
