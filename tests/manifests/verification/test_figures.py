"""Figures: counts, moves, distances and the worst poisons are those of the bytes, over all trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forge import Draft, check, forge

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.figures import Figures, decimals
from poisonsets.manifests.verification.tally import WORST_KEPT


def figures(folder: Path, base: Base) -> Figures:
    found = check(folder, base).figures
    assert found is not None
    return found


def shifted(draft: Draft, base: Base, moves: list[int]) -> None:
    """Trial 0's poisons are their bases with one channel value moved by so many levels each."""
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
    draft.trial(0)["outcome"] = None
    draft.manifest["trials"] = draft.manifest["trials"][:1]
    for column in (draft.images, draft.labels, draft.slots):
        for number in range(1, 5):
            del column[number]
    for slot, move in enumerate(moves):
        image = base.train.images[draft.trial(0)["slots"]["bases"][slot]].copy()
        image[0, 0, 0] += move if image[0, 0, 0] < 128 else -move
        draft.images[0][slot] = image


def test_moves_are_counted_poison_by_poison(five: Path, tmp_path: Path, base: Base) -> None:
    forged = forge(five, tmp_path / "set", lambda draft: shifted(draft, base, [0, 3, 8, 3]))
    found = figures(forged, base)
    assert (found.trials, found.poisons, found.unknown, found.moved) == (1, 4, 0, 3)
    assert found.largest == {0: 1, 3: 2, 8: 1}
    assert found.distance == ("0.00", "3.50", "8.00")
    assert [(one.slot, one.used) for one in found.worst] == [(2, "8/8"), (1, "3/8"), (3, "3/8"), (0, "0/8")]
    assert found.least_alike == (0, 2)
    table = dict(found.rows())
    assert table["poisons that differ from their base"] == "3 of 4"
    assert table["poisons by their largest move, in levels"] == "0: 1, 3-4: 2, 5-8: 1"


def test_they_are_sums_over_all_trials(five: Path, base: Base) -> None:
    found = figures(five, base)
    opened = open_set(five)
    deltas = np.concatenate(
        [trial.poisons()[0].astype(int) - base.train.images[list(trial.record.slots.bases)] for trial in opened.trials]
    )
    moves = np.abs(deltas).max(axis=(1, 2, 3)).tolist()
    assert found.largest == {move: moves.count(move) for move in sorted(set(moves))}
    distances = np.sqrt((deltas**2).sum(axis=(1, 2, 3)))
    assert found.distance == tuple(f"{value:.2f}" for value in (distances.min(), distances.mean(), distances.max()))
    assert (found.trials, found.poisons, len(found.worst)) == (5, 20, WORST_KEPT)
    assert float(found.ssim[1]) <= float(found.ssim[0]) <= 1


def test_unknown_bases_are_counted_apart(five: Path, tmp_path: Path, base: Base) -> None:
    def unknown(draft: Draft) -> None:
        shifted(draft, base, [1, 1, 1, 1])
        trial = draft.trial(0)
        trial["slots"]["bases"] = [None, *trial["slots"]["bases"][1:3], None]
        trial["labels"], trial["constraint"] = "adversarial", {"norm": "none"}

    def all_unknown(draft: Draft) -> None:
        unknown(draft)
        draft.trial(0)["slots"]["bases"] = [None] * 4

    found = figures(forge(five, tmp_path / "two", unknown), base)
    assert (found.unknown, found.moved, found.largest) == (2, 2, {1: 2})
    assert found.worst[0].used == "1/255"
    none = figures(forge(five, tmp_path / "all", all_unknown), base)
    assert (none.unknown, none.largest, none.distance, none.ssim, none.worst) == (4, {}, (), (), ())
    assert dict(none.rows()) == {"poisons that differ from their base": "0 of 0", "poisons of unknown base": "4"}


def test_l2_budgets_are_shares_of_squares(five: Path, tmp_path: Path, base: Base) -> None:
    def l2(draft: Draft) -> None:
        shifted(draft, base, [5, 6, 7, 8])
        draft.trial(0)["constraint"] = {"norm": "l2", "squared_levels": 64, "exempt_trigger": False}

    found = figures(forge(five, tmp_path / "set", l2), base)
    assert [one.used for one in found.worst] == ["64/64", "49/64", "36/64", "25/64"]


def test_no_figure_is_rounded_up() -> None:
    assert [decimals(value) for value in (1.0, 0.99999, 0.5, -0.12345)] == ["1.0000", "0.9999", "0.5000", "-0.1235"]


@pytest.mark.parametrize(("part", "measured"), [("README.md", True), ("poisons/*.tar", False)])
def test_trials_that_are_whole_have_figures_and_damaged_ones_none(
    five: Path, tmp_path: Path, base: Base, part: str, measured: bool
) -> None:
    def nothing(draft: Draft) -> None:
        del draft

    broken = forge(five, tmp_path / "set", nothing)
    for path in broken.glob(part):
        path.write_text("x")
    report = check(broken, base)
    assert (report.worst, report.figures is not None) == (3, measured)
