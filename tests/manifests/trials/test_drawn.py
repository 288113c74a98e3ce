"""Drawn trials: a function of seed, number and base; uniform; and refused where the base cannot give them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.origin import DrawnSetup
from poisonsets.manifests.trials.drawn import draw

TRAIN = np.arange(200) % 5
TEST = np.arange(40) % 5
# Classes 1 to 4 have 40 training images each; class 0 is for pretraining.
BASE = Base(
    "tiny",
    tuple("abcde"),
    *(Split(np.zeros((len(x), 1, 1, 3), np.uint8), x.astype(np.int64)) for x in (TRAIN, TEST)),
    victim_classes=(1, 2, 3, 4),
    pretrain_classes=(0,),
    mirror=False,
)


def record(**fields: Any) -> DrawnSetup:
    return DrawnSetup(**({"seed": 0, "poisons": 5} | fields))


def test_a_pinned_trial_never_changes() -> None:
    plan = draw(BASE, record(seed=7), 3)
    target = plan.targets[0]
    assert (target.split, target.index, target.label) == ("test", 31, 1)
    assert (plan.trial, plan.adversarial_label) == (3, 3)
    assert plan.bases == (68, 13, 168, 3, 148)


@pytest.mark.parametrize("number", range(40))
def test_every_trial_is_well_formed(number: int) -> None:
    plan = draw(BASE, record(), number)
    (target,) = plan.targets
    assert int(TEST[target.index]) == target.label
    assert target.label in BASE.victim_classes
    assert plan.adversarial_label in BASE.victim_classes
    assert plan.adversarial_label != target.label
    assert len(set(plan.bases)) == 5
    assert set(TRAIN[list(plan.bases)]) == {plan.adversarial_label}


def test_trials_depend_on_seed_and_number_and_on_nothing_else() -> None:
    plans = {(seed, number): draw(BASE, record(seed=seed), number) for seed in range(3) for number in range(5)}
    assert len({(plan.targets, plan.bases) for plan in plans.values()}) == len(plans)
    for (seed, number), plan in reversed(plans.items()):
        assert draw(BASE, record(seed=seed), number) == plan


def test_targets_and_classes_are_uniform() -> None:
    plans = [draw(BASE, record(), number) for number in range(3000)]
    targets = Counter(plan.targets[0].index for plan in plans)
    assert set(targets) == {int(i) for i in np.flatnonzero(TEST > 0)}
    # Expected 93.75 a target of 32, standard deviation 9.5; 250 a pair of 12, standard deviation 15.
    assert all(46 < count < 142 for count in targets.values())
    pairs = Counter((plan.targets[0].label, plan.adversarial_label) for plan in plans)
    assert len(pairs) == 12
    assert all(175 < count < 325 for count in pairs.values())


def test_a_class_pair_fixes_both_classes() -> None:
    for number in range(10):
        plan = draw(BASE, record(class_pair=(2, 4), source_classes=(4,)), number)
        assert (plan.adversarial_label, plan.targets[0].label) == (2, 4)


def test_source_classes_restrict_the_target_and_exclude_the_base() -> None:
    plans = [draw(BASE, record(source_classes=(1, 2)), number) for number in range(60)]
    assert {plan.targets[0].label for plan in plans} == {1, 2}
    assert {plan.adversarial_label for plan in plans} == {3, 4}
    everything = [draw(BASE, record(source_classes=(1, 2, 3, 4)), number) for number in range(60)]
    assert {plan.adversarial_label for plan in everything} == {1, 2, 3, 4}
    assert all(plan.adversarial_label != plan.targets[0].label for plan in everything)


@pytest.mark.parametrize(("rate", "count"), [("1/10", 4), ("1/9", 4), ("1/40", 1), ("1/1", 40), ("99/100", 39)])
def test_a_rate_is_of_the_base_class_and_rounds_down(rate: str, count: int) -> None:
    assert len(draw(BASE, record(poisons=None, rate=rate), 0).bases) == count


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"poisons": 41}, "41 poisons cannot be drawn: class . of tiny has 40 training images"),
        ({"poisons": None, "rate": "1/41"}, r"a rate of 1/41 \(0 poisons\)"),
        ({"poisons": None, "rate": "2/1"}, r"a rate of 2/1 \(80 poisons\)"),
        ({"class_pair": (1, 1)}, "one class twice"),
        ({"class_pair": (0, 1)}, "class 0 is not one of the victim classes"),
        ({"class_pair": (1, 9)}, "class 9 is not"),
        ({"source_classes": (0,)}, "class 0 is not"),
        ({"class_pair": (1, 2), "source_classes": (3,)}, "target class 2 is not among the source classes"),
    ],
)
def test_what_the_base_cannot_give_is_a_usage_error(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        draw(BASE, record(**fields), 0)


def test_declared_classes_without_images_are_never_drawn() -> None:
    many = tuple(map(str, range(100_000)))
    base = Base("many", many, BASE.train, BASE.test, tuple(range(1, 100_000)), (0,), mirror=False)
    for number in range(30):
        assert draw(base, record(), number) == draw(BASE, record(), number)


def test_a_class_without_test_images_is_a_usage_error() -> None:
    test = Split(np.zeros((4, 1, 1, 3), np.uint8), np.zeros(4, np.int64))
    base = Base("odd", BASE.classes, BASE.train, test, (1, 2), (0,), mirror=False)
    with pytest.raises(UsageError, match="no test image of class 1, 2"):
        draw(base, record(), 0)
    with pytest.raises(UsageError, match="one victim class"):
        draw(Base("odd", BASE.classes, BASE.train, BASE.test, (1,), (0,), mirror=False), record(), 0)


# --- backdoors, several targets, candidates, supplanting -------------------------------------------------------


def test_what_is_added_later_changes_no_draw_before_it() -> None:
    """Equal seeds give equal targets, adversarial labels and bases, whatever else is drawn after them."""
    for number in range(10):
        plain = draw(BASE, record(), number)
        for fields in ({"targets": 3}, {"supplant": True}, {"backdoor": True}):
            other = draw(BASE, record(**fields), number)
            assert other.targets[0] == plain.targets[0]
            assert (other.adversarial_label, other.bases) == (plain.adversarial_label, plain.bases)
        longer = draw(BASE, record(candidates=9), number)
        assert longer.bases[:5] == plain.bases
        assert (len(longer.bases), longer.keep, plain.keep) == (9, 5, 5)


def test_several_targets_are_different_images_of_one_class() -> None:
    for number in range(20):
        targets = draw(BASE, record(targets=8), number).targets
        assert len({target.index for target in targets}) == 8
        assert {int(TEST[target.index]) for target in targets} == {target.label for target in targets}
    with pytest.raises(UsageError, match=r"9 targets of class .: tiny has 8 test images"):
        draw(BASE, record(targets=9), 0)


def test_a_backdoor_has_source_classes_without_the_adversarial_label() -> None:
    for number in range(20):
        plan = draw(BASE, record(backdoor=True), number)
        assert plan.source_classes == (plan.targets[0].label,)
        everything = draw(BASE, record(backdoor=True, source_classes=(1, 2, 3, 4)), number)
        assert everything.source_classes == tuple(c for c in (1, 2, 3, 4) if c != everything.adversarial_label)
        assert draw(BASE, record(source_classes=(1, 2)), number).source_classes == ()


def test_dirty_labels_take_bases_of_the_source_classes_evenly() -> None:
    """Truong et al. (2020), table 1: class c gives m N_c / sum_K N_k of the m poisons on average."""
    fields = {"poisons": 12, "bases_from": "source", "backdoor": True, "source_classes": (1, 2, 3, 4)}
    plans = [draw(BASE, record(**fields), number) for number in range(600)]
    for plan in plans:
        assert plan.adversarial_label not in set(TRAIN[list(plan.bases)].tolist())
        assert len(set(plan.bases)) == 12
    ones = [plan for plan in plans if plan.adversarial_label == 4]
    drawn = Counter(int(TRAIN[base]) for plan in ones for base in plan.bases)
    # 4 of each of three classes a trial; the standard deviation of a trial is below 1.7.
    assert all(abs(drawn[label] / len(ones) - 4) < 5 * 1.7 / len(ones) ** 0.5 for label in (1, 2, 3))
    flipped = draw(BASE, record(bases_from="source"), 0)
    assert set(TRAIN[list(flipped.bases)].tolist()) == {flipped.targets[0].label}
    assert flipped.source_classes == ()


def test_supplanted_images_are_of_the_adversarial_class_and_as_many_as_poisons() -> None:
    for number in range(20):
        plan = draw(BASE, record(supplant=True, bases_from="source", poisons=None, rate="1/5"), number)
        assert plan.removed is not None
        assert len(set(plan.removed)) == len(plan.bases) == 8
        assert list(plan.removed) == sorted(plan.removed)
        assert set(TRAIN[list(plan.removed)].tolist()) == {plan.adversarial_label}
        assert draw(BASE, record(), number).removed is None
    with pytest.raises(UsageError, match="41 images to supplant cannot be drawn"):
        draw(
            BASE, record(poisons=41, bases_from="source", backdoor=True, source_classes=(1, 2, 3, 4), supplant=True), 0
        )
