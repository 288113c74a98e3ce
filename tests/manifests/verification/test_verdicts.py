"""A verdict for each trial: what is wrong with one neither hides nor stains the others."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from forge import Draft, base_of_another_height, check, forge, small_base, small_set

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.verification.html_page import page
from poisonsets.manifests.verification.verify import verify

TRIALS = 5


def missing(pin: BasePin) -> Base:
    raise MissingError("there is no such base")


def shard_of(folder: Path, trial: int) -> Path:
    return folder / f"poisons/trial-{trial:05}-000.tar"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_three_kinds_of_tampering_stain_no_other_trial(tmp_path: Path, order: tuple[int, int, int]) -> None:
    """One label changed, one poison outside the ball, one file cut: whichever trials they fall on."""
    base, (label, far, cut) = small_base(), order

    def tamper(draft: Draft) -> None:
        other = (draft.labels[label][3] + 1) % 3
        draft.labels[label][3] = draft.trial(label)["slots"]["labels"][3] = other
        draft.images[far][2] = 255 - draft.images[far][2]

    folder = forge(small_set(tmp_path / "honest", base, trials=TRIALS), tmp_path / "forged", tamper)
    shard_of(folder, cut).write_bytes(shard_of(folder, cut).read_bytes()[:-512])
    report = check(folder, base)
    assert report.worst == 3
    assert report.verdicts == {"clean": (3, 4), "false claim": tuple(sorted((label, far))), "damaged": (cut,)}
    assert {finding.trial for finding in report.findings if finding.kind != "hint"} == {0, 1, 2}
    assert "verdict: false claim" in page(report)
    assert f"1 trial: {cut}" in page(report)


def test_a_missing_base_does_not_hide_damage(tmp_path: Path) -> None:
    base = small_base()
    folder = small_set(tmp_path / "set", base, trials=3)
    with pytest.raises(MissingError):
        verify(folder, missing)
    shard_of(folder, 1).unlink()
    report = verify(folder, missing)
    assert (report.worst, report.figures) == (3, None)
    assert report.verdicts == {"damaged": (1,), "cannot be judged": (0, 2)}


def test_damage_beside_the_trials_leaves_them_judged(tmp_path: Path) -> None:
    base = small_base()
    folder = small_set(tmp_path / "set", base)
    (folder / "README.md").write_bytes(b"edited")
    report = check(folder, base)
    assert (report.worst, report.verdicts) == (3, {"clean": (0, 1)})


def test_a_trial_without_anything_to_compare_with_is_not_called_clean(tmp_path: Path) -> None:
    base = small_base()
    folder = forge(small_set(tmp_path / "honest", base), tmp_path / "forged", base_of_another_height)
    report = check(folder, base)
    assert (report.worst, report.verdicts) == (1, {"cannot be judged": (0, 1)})
