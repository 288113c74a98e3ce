"""Counting poisons: every unit against a count by hand, under every rule, and its place in the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forge import bare_trial, check, forge, small_base, small_set

from poisonsets.manifests.overlay.compose import ByCount, Rule
from poisonsets.manifests.overlay.poison_counts import PoisonCounts, count_poisons, spans
from poisonsets.manifests.records.trial import Add, InPlace, Supplant

LABELS = np.repeat(np.arange(3), 10)


@pytest.mark.parametrize(
    ("rule", "share_of_class", "share_of_set"),
    [
        (InPlace(), (3, 10), (3, 30)),
        (Add(), (3, 13), (3, 33)),
        (Supplant(removed=(10, 11, 20)), (3, 11), (3, 30)),
        (ByCount(size=15), (3, 5), (3, 15)),
    ],
)
def test_clean_labels_under_every_rule(
    rule: Rule, share_of_class: tuple[int, int], share_of_set: tuple[int, int]
) -> None:
    moved = np.array([True, False, True])
    found = count_poisons(LABELS, bare_trial((12, 13, 14), (1, 1, 1)), rule, (0, 1, 2), moved)
    assert found == PoisonCounts(3, share_of_class, share_of_set, (2, share_of_set[1]))


def test_a_changed_label_alone_makes_a_poison_effective() -> None:
    nothing = np.zeros(3, dtype=np.bool_)
    flipped = count_poisons(LABELS, bare_trial((12, 3, None), (1, 1, 2)), InPlace(), (0, 1, 2), nothing)
    # Base 3 moves from class 0 to 1, the poison of unknown base is added to class 2.
    assert flipped == PoisonCounts(3, (3, 11 + 11), (3, 31), (2, 31))


def test_classes_that_victims_do_not_know_are_no_part_of_the_whole() -> None:
    assert count_poisons(LABELS, bare_trial((12,), (1,)), InPlace(), (0, 1)) == PoisonCounts(1, (1, 10), (1, 20), None)


def test_spans_compare_fractions_and_not_their_spelling() -> None:
    trials = [PoisonCounts(3, (3, 10), (3, 30), (3, 30)), PoisonCounts(2, (2, 5), (2, 50), None)]
    assert spans(trials) == {
        "count": ("2", "3"),
        "class_share": ("3/10", "2/5"),
        "set_share": ("2/50", "3/30"),
        "effective_rate": ("3/30", "3/30"),
    }
    assert spans([]) == {}


def test_the_report_has_them_only_where_every_claim_holds(tmp_path: Path) -> None:
    base = small_base()
    honest = small_set(tmp_path / "honest", base)
    report = check(honest, base)
    assert report.rates["count"] == ("4", "4")
    assert report.rates["class_share"] == ("4/12", "4/12")
    assert report.rates["effective_rate"] == report.rates["set_share"] == ("4/36", "4/36")
    assert "count 4, class share 4/12 (33.333%), set share 4/36 (11.111%)" in report.rates_line()
    lie = forge(honest, tmp_path / "lie", lambda draft: draft.trial(1)["slots"]["bases"].__setitem__(0, 99))
    assert check(lie, base).rates == {}
