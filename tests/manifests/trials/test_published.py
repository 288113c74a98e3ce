"""Named setups: the Witches' Brew cases decode from their printed seeds, on CIFAR-10 in its order alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Labels
from poisonsets.manifests.records.origin import NamedSetup
from poisonsets.manifests.trials.published import plan_trial, trials_of
from poisonsets.manifests.trials.witches_brew import CASES

NAME = "witches-brew-cifar10"
# Geiping et al. (2021), table 4: target class, poison class, target id.
PRINTED = [
    ("dog", "frog", 8745),
    ("frog", "truck", 1565),
    ("frog", "bird", 2138),
    ("airplane", "dog", 5036),
    ("airplane", "ship", 1183),
    ("cat", "airplane", 7352),
    ("automobile", "frog", 3544),
    ("truck", "cat", 3676),
    ("automobile", "ship", 9882),
    ("automobile", "cat", 3028),
]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def base_of(train: Labels, test: Labels) -> Base:
    """A base of these labels under black images of one pixel."""
    splits = (Split(np.zeros((len(y), 1, 1, 3), np.uint8), y.astype(np.int64)) for y in (train, test))
    everything = tuple(range(10))
    return Base("cifar10", CLASSES, *splits, everything, everything, mirror=True)


def test_the_printed_cases_decode(real_data: Path) -> None:
    if not (real_data / "cifar10.npz").exists():
        pytest.skip(f"{real_data} has no CIFAR-10")
    pack = np.load(real_data / "cifar10.npz")
    base = base_of(pack["train_labels"], pack["test_labels"])
    assert trials_of(NAME) == len(PRINTED) == 10
    for number, (target_class, adversarial, index) in enumerate(PRINTED):
        plan = plan_trial(NamedSetup(name=NAME), base, number)
        (target,) = plan.targets
        assert (CLASSES[target.label], CLASSES[plan.adversarial_label], target.index) == (
            target_class,
            adversarial,
            index,
        )
        assert len(set(plan.bases)) == 500
        assert set(base.train.labels[list(plan.bases)].tolist()) == {plan.adversarial_label}
        assert plan.source_classes == ()
        again = plan_trial(NamedSetup(name=NAME, backdoor=True), base, number)
        assert (again.bases, again.source_classes) == (plan.bases, (target.label,))
    shifted = base_of(np.roll(pack["train_labels"], 1), np.roll(pack["test_labels"], 1))
    for number in range(10):
        with pytest.raises(UsageError, match="original order"):
            plan_trial(NamedSetup(name=NAME), shifted, number)


@pytest.mark.parametrize("size", [50_000, 100, 20])
def test_another_base_is_refused(size: int) -> None:
    labels = np.arange(size, dtype=np.int64) % 10
    for number in range(len(CASES)):
        with pytest.raises(UsageError, match="does not give the case that the paper prints"):
            plan_trial(NamedSetup(name=NAME), base_of(labels, labels[:10_000]), number)


def test_unknown_names_and_numbers_are_refused() -> None:
    base = base_of(np.arange(10), np.arange(10))
    with pytest.raises(UsageError, match="no setup called 'witches'"):
        plan_trial(NamedSetup(name="witches"), base, 0)
    with pytest.raises(UsageError, match="trial 10 is outside 0-9"):
        plan_trial(NamedSetup(name=NAME), base, 10)
