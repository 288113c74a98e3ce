"""Expected draws and effective rates against table 1 of Truong et al. (2020)."""

from __future__ import annotations

from fractions import Fraction

import pytest

from poisonsets.dirty_label import effective_rate, expected_draws
from poisonsets.manifests.errors import UsageError

FLOWERS = (710, 980, 734, 675, 904)
# Adversarial class: poisons at a rate of 1/10, expected draws of each class, effective rate; as printed.
TABLE_1 = {
    0: (71, "0 21.1 15.8 14.6 19.5", ".018"),
    1: (98, "23.0 0 23.8 21.9 29.3", ".025"),
    2: (73, "15.9 21.9 0 15.1 20.2", ".018"),
    3: (67, "14.3 19.7 14.8 0 18.2", ".017"),
    4: (90, "20.6 28.5 21.3 19.6 0", ".023"),
}


@pytest.mark.parametrize("adversarial", TABLE_1)
def test_the_published_table(adversarial: int) -> None:
    poisons, draws, rate = TABLE_1[adversarial]
    assert poisons == FLOWERS[adversarial] // 10
    others = [label for label in range(5) if label != adversarial]
    expected = expected_draws(FLOWERS, adversarial, others, poisons)
    for found, printed in zip(expected, draws.split(), strict=True):
        assert abs(found - Fraction(printed)) <= Fraction(1, 20)
    assert sum(expected) == poisons
    # To one unit of the last digit, for .025 and .023 are rounded up; over the source classes alone none comes out.
    assert abs(effective_rate(FLOWERS, poisons) - Fraction(rate)) <= Fraction(1, 1000)
    assert abs(Fraction(poisons, sum(FLOWERS[label] for label in others)) - Fraction(rate)) > Fraction(1, 1000)


def test_one_source_class_gives_all() -> None:
    assert expected_draws(FLOWERS, 0, [3], 71) == (0, 0, 0, 71, 0)


@pytest.mark.parametrize(
    ("counts", "adversarial", "sources"), [((5, 5), 0, [0, 1]), ((5, 5), 0, []), ((5, 0), 0, [1]), ((5, 5), 0, [2])]
)
def test_draws_that_make_no_sense_are_refused(counts: tuple[int, ...], adversarial: int, sources: list[int]) -> None:
    with pytest.raises(UsageError):
        expected_draws(counts, adversarial, sources, 1)


def test_no_images_have_no_rate() -> None:
    with pytest.raises(UsageError):
        effective_rate((0, 0), 1)
