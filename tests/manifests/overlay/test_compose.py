"""Composition: every rule against a slow spelling of it, the sizes it promises, its clean controls and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forge import bare_trial
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.compose import ByCount, Rule, TrainingRows, clean_control, compose
from poisonsets.manifests.records.trial import Add, InPlace, Supplant, Trial

few = settings(max_examples=50, deadline=None)
CLASSES = (0, 1, 2)
Labels = NDArray[np.int64]


def trial(bases: list[int | None], labels: list[int] | None = None) -> Trial:
    return bare_trial(bases, [1] * len(bases) if labels is None else labels)


def table(rows: TrainingRows) -> list[tuple[int, int, int]]:
    return list(zip(rows.base.tolist(), rows.slot.tolist(), rows.label.tolist(), strict=True))


def benchmark(labels: Labels, bases: list[int], size: int) -> list[tuple[int, int, int]]:
    """The published benchmark, learning_module.py 125-175: per class the first n that are no base, by count."""
    rows = []
    for label in CLASSES:
        wanted = size // len(CLASSES) - (len(bases) if label == 1 else 0)
        others = [i for i, y in enumerate(labels.tolist()) if y == label and i not in bases]
        rows += [(i, -1, label) for i in others[:wanted]]
    return rows + [(base, slot, 1) for slot, base in enumerate(bases)]


@st.composite
def splits(draw: Any) -> tuple[Labels, list[int]]:
    """Labels of a split of three classes, and bases of class 1, some of them twice."""
    labels = np.array(draw(st.permutations([0] * 8 + [1] * 10 + [2] * 9)), dtype=np.int64)
    ones = np.flatnonzero(labels == 1).tolist()
    return labels, draw(st.lists(st.sampled_from(ones), min_size=1, max_size=5))


@few
@given(splits(), st.sampled_from([15, 18, 21, 24]))
def test_by_count_is_the_benchmarks(split: tuple[Labels, list[int]], size: int) -> None:
    labels, bases = split
    wanted = size // 3 - len(bases)
    assume(0 <= wanted <= 10 - len(set(bases)))
    rows = compose(labels, trial(list(bases)), ByCount(size), CLASSES)
    assert table(rows) == benchmark(labels, bases, size)
    assert len(rows) == size
    assert np.bincount(rows.label).tolist() == [size // 3] * 3


@few
@given(splits())
def test_by_count_never_has_a_base_beside_its_poison(split: tuple[Labels, list[int]]) -> None:
    labels, bases = split
    rows = compose(labels, trial(list(bases)), ByCount(15), CLASSES)
    assert not set(rows.base[rows.slot < 0].tolist()) & set(bases)


@few
@given(splits())
def test_in_place_keeps_every_row(split: tuple[Labels, list[int]]) -> None:
    labels, bases = split
    rows = compose(labels, trial(list(bases), [2] * len(bases)), InPlace(), CLASSES)
    count = len(labels)
    assert rows.base[:count].tolist() == list(range(count))
    first = {base: slot for slot, base in reversed(list(enumerate(bases)))}
    assert rows.slot[:count].tolist() == [first.get(i, -1) for i in range(count)]
    repeated = [slot for slot, base in enumerate(bases) if first[base] != slot]
    assert rows.slot[count:].tolist() == repeated
    assert sorted(rows.slot[rows.slot >= 0].tolist()) == list(range(len(bases)))
    poisoned = rows.slot >= 0
    assert set(rows.label[poisoned].tolist()) == {2}
    assert rows.label[~poisoned].tolist() == labels[rows.base[~poisoned]].tolist()


@few
@given(splits())
def test_in_place_leaves_other_classes_out(split: tuple[Labels, list[int]]) -> None:
    labels, bases = split
    unknown: list[int | None] = [*bases, None]
    rows = compose(labels, trial(unknown), InPlace(), (0, 1))
    assert set(rows.label.tolist()) == {0, 1}
    assert len(rows) == 18 + len(bases) - len(set(bases)) + 1
    assert table(rows)[-1] == (-1, len(bases), 1)


@few
@given(splits())
def test_add_appends_the_poisons(split: tuple[Labels, list[int]]) -> None:
    labels, bases = split
    rows = table(compose(labels, trial(list(bases)), Add(), CLASSES))
    assert rows[: len(labels)] == [(i, -1, y) for i, y in enumerate(labels.tolist())]
    assert rows[len(labels) :] == [(base, slot, 1) for slot, base in enumerate(bases)]


@few
@given(splits(), st.sets(st.integers(0, 26), min_size=1, max_size=5))
def test_supplant_takes_the_named_images_out(split: tuple[Labels, list[int]], removed: set[int]) -> None:
    labels, bases = split
    rule = Supplant(removed=tuple(removed))
    rows = compose(labels, trial(list(bases)), rule, CLASSES)
    kept = [i for i in range(len(labels)) if i not in removed]
    assert table(rows)[: len(kept)] == [(i, -1, int(labels[i])) for i in kept]
    assert table(rows)[len(kept) :] == [(base, slot, 1) for slot, base in enumerate(bases)]
    control = clean_control(labels, rows, rule, CLASSES)
    assert control is not None
    assert table(control) == [(i, -1, y) for i, y in enumerate(labels.tolist())]


@few
@given(splits(), st.sampled_from([InPlace(), Add(), ByCount(15)]))
def test_the_control_has_every_base_in_place_of_its_poison(split: tuple[Labels, list[int]], rule: Rule) -> None:
    labels, bases = split
    label = 1 if isinstance(rule, ByCount) else 2
    rows = compose(labels, trial(list(bases), [label] * len(bases)), rule, CLASSES)
    control = clean_control(labels, rows, rule, CLASSES)
    assert control is not None
    assert (control.slot == -1).all()
    assert control.base.tolist() == rows.base.tolist()
    assert control.label.tolist() == labels[control.base].tolist()


def test_controls_of_in_place_trials_coincide() -> None:
    labels = np.arange(12, dtype=np.int64) % 3
    digests = set()
    for bases in ([1, 4], [7, 10], [4]):
        control = clean_control(labels, compose(labels, trial(list(bases)), InPlace(), CLASSES), InPlace(), CLASSES)
        assert control is not None
        digests.add(control.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("rule", [InPlace(), Add(), ByCount(9)])
def test_an_unknown_base_has_no_control(rule: Rule) -> None:
    labels = np.arange(12, dtype=np.int64) % 3
    rows = compose(labels, trial([1, None]), rule, CLASSES)
    assert sorted(rows.slot[rows.slot >= 0].tolist()) == [0, 1]
    assert clean_control(labels, rows, rule, CLASSES) is None


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (10, "10 images cannot be shared evenly by 3 classes"),
        (3, "needs -1 clean images of class 1"),
        (15, "needs 5 clean images of class 0, the base has 4"),
    ],
)
def test_a_size_that_cannot_be_met_is_refused(size: int, words: str) -> None:
    labels = np.arange(12, dtype=np.int64) % 3
    with pytest.raises(UsageError, match=words):
        compose(labels, trial([1, 4]), ByCount(size), CLASSES)


def test_rows_are_named_by_their_contents() -> None:
    labels = np.arange(12, dtype=np.int64) % 3
    rules: list[Rule] = [InPlace(), Add(), ByCount(9)]
    digests = {compose(labels, trial([1, 4]), rule, CLASSES).digest() for rule in rules}
    assert len(digests) == 3
    assert compose(labels, trial([1, 4]), Add(), CLASSES).digest() in digests
    pinned = TrainingRows(*(np.array(column, dtype=np.int64) for column in ([0, 3], [-1, 0], [1, 2])))
    assert pinned.digest() == "b0a56a7bfcac3e363df28b839c2c7d39978f9af24e58807bd6bc23d196377504"
