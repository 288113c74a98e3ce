"""Table 1 of Truong et al. (2020): what drawn dirty-label trials take of which class, and their effective rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.overlay.poison_counts import count_poisons
from poisonsets.manifests.records.origin import DrawnSetup
from poisonsets.manifests.records.trial import Slots, Supplant, Trial, Unconstrained
from poisonsets.manifests.trials.drawn import draw

FLOWERS = (710, 980, 734, 675, 904)
# Adversarial class: poisons at a rate of 1/10, expected draws of each class, effective rate; as printed.
TABLE_1 = {
    0: (71, "0 21.1 15.8 14.6 19.5", ".018"),
    1: (98, "23.0 0 23.8 21.9 29.3", ".025"),
    2: (73, "15.9 21.9 0 15.1 20.2", ".018"),
    3: (67, "14.3 19.7 14.8 0 18.2", ".017"),
    4: (90, "20.6 28.5 21.3 19.6 0", ".023"),
}
TRIALS = 60


def flowers() -> Base:
    """Images of one black pixel, as many a class as the paper's training set has."""
    labels = (np.repeat(np.arange(5), FLOWERS).astype(np.int64), np.arange(10, dtype=np.int64) % 5)
    splits = (Split(np.zeros((len(y), 1, 1, 3), np.uint8), y) for y in labels)
    names = ("daisy", "dandelion", "rose", "sunflower", "tulip")
    return Base("flowers", names, *splits, tuple(range(5)), tuple(range(5)), mirror=True)


@pytest.mark.parametrize("adversarial", TABLE_1)
def test_draws_and_rates_are_those_of_the_published_table(adversarial: int) -> None:
    poisons, printed, rate = TABLE_1[adversarial]
    base, classes = flowers(), np.arange(5)
    setup = DrawnSetup(
        seed=adversarial,
        rate="1/10",
        source_classes=tuple(c for c in range(5) if c != adversarial),
        backdoor=True,
        bases_from="source",
        supplant=True,
    )
    drawn = []
    for number in range(TRIALS):
        plan = draw(base, setup, number)
        assert (plan.adversarial_label, len(plan.bases)) == (adversarial, poisons)
        drawn.append((base.train.labels[list(plan.bases)][:, None] == classes).sum(0))
    mean = np.mean(drawn, axis=0)
    for label, wanted in enumerate(map(float, printed.split())):
        share = wanted / poisons  # the spread of a draw without replacement is below that of one with
        spread = (poisons * share * (1 - share) / TRIALS) ** 0.5
        assert abs(mean[label] - wanted) <= 4 * spread + 0.05
    # To one unit of the last digit, for .025 and .023 are rounded up; the source classes alone give none of them.
    assert abs(effective_rate(base, setup) - Fraction(rate)) <= Fraction(1, 1000)
    others = sum(FLOWERS) - FLOWERS[adversarial]
    assert abs(Fraction(poisons, others) - Fraction(rate)) > Fraction(1, 1000)


def effective_rate(base: Base, setup: DrawnSetup) -> Fraction:
    """What `count_poisons` says of the first trial, its poisons relabelled."""
    plan = draw(base, setup, 0)
    assert plan.removed is not None
    labels = (plan.adversarial_label,) * len(plan.bases)
    images = base.train.images[list(plan.bases)]
    trial = Trial(
        trial=0,
        targets=plan.targets,
        source_classes=plan.source_classes,
        adversarial_label=plan.adversarial_label,
        labels="adversarial",
        constraint=Unconstrained(),
        composition=Supplant(removed=plan.removed),
        slots=Slots(bases=plan.bases, labels=labels),
        pixels=pixel_digest(images, np.array(labels, dtype=np.int64)),
    )
    moved = np.zeros(len(labels), dtype=np.bool_)
    found = count_poisons(base.train.labels, trial, trial.composition, base.victim_classes, moved)
    assert found.effective_rate is not None
    return Fraction(*found.effective_rate)
