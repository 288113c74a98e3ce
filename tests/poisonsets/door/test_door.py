"""`import poisonsets as ps`: from nothing to a scored set, in the words and the cache of whoever calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poisonsets as ps
from poisonsets.door import markup
from poisonsets.door.errors import python_words
from poisonsets.door.poison_set import PoisonSet
from poisonsets.manifests.errors import MissingError, UsageError, ViolationError
from poisonsets.manifests.overlay.compose import InPlace


@pytest.fixture(scope="module")
def made(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> PoisonSet:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(cache))
        return ps.craft("noise", base="digits", trials=range(2), poisons=3, out=str(tmp_path_factory.mktemp("a") / "s"))


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))


def test_the_import_loads_nothing_and_shows_every_verb() -> None:
    code = "import sys, poisonsets as ps; assert {*ps.__all__} <= {*dir(ps)}; print({'numpy','torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert all(callable(getattr(ps, name)) for name in ps.__all__)
    with pytest.raises(AttributeError, match="nosuch"):
        _ = ps.nosuch


def test_a_set_has_a_length_an_order_and_a_short_repr(made: PoisonSet) -> None:
    assert len(made) == 2
    assert [one.number for one in made] == [0, 1]
    assert made[-1].number == made.trial(1).number == made[:2][1].number == 1
    assert repr(made) == "<poison set s: noise on digits, 2 trials>"
    assert len(made[0]) == len(list(made[0])) == 3
    assert "3 poisons" in repr(made[0])


def test_training_and_control_set_differ_in_the_poisons_alone(made: PoisonSet) -> None:
    trial, base = made[0], ps.open_base("digits")
    poisoned, control = trial.training_set(base, remap=True), trial.control_set(remap=True)
    assert poisoned.images.dtype == np.uint8
    assert set(poisoned.labels) == set(range(len(poisoned.classes)))
    assert np.array_equal(poisoned.labels, control.labels)  # noise keeps labels, in place
    changed = (poisoned.images != control.images).any(axis=(1, 2, 3))
    assert isinstance(trial.record.composition, InPlace)
    assert np.array_equal(changed, poisoned.rows.slot >= 0)
    plain = trial.training_set()
    assert np.array_equal(np.array(base.victim_classes)[poisoned.labels], plain.labels)


def test_a_dataset_takes_a_transform(made: PoisonSet) -> None:
    image, label = made[0].dataset(transform=lambda image: image.mean())[0]
    assert 0 <= float(image) <= 1
    assert 0 <= label < 5
    assert made[0].training_set().dataset()[0][0].shape == made[0].dataset()[0][0].shape


def test_a_report_is_true_where_every_claim_holds(made: PoisonSet, tmp_path: Path) -> None:
    report = ps.verify(made)
    assert report
    assert "every claim" in repr(report)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")
    found = ps.verify(str(broken))
    assert not found
    assert found[0].code == "D101"
    assert len(found) == len(list(found)) == 1


def test_a_victim_of_ones_own_is_evaluated(made: PoisonSet) -> None:
    def always_first(training_set: Any, queries: Any) -> Any:
        return np.zeros(len(queries), dtype=np.int64)

    found = ps.evaluate(made, always_first, trials=[1])
    assert [row.victim for row in found] == ["always_first"]
    assert len(found[:1]) == 1
    assert "own/always_first" in repr(found)
    assert "own/always_first" in found._repr_html_()


def test_a_set_is_scored_from_its_path(made: PoisonSet, tmp_path: Path) -> None:
    path = str(made.path)
    found = ps.score(path, protocol="digits-scratch/convnet@epochs=1,width=0.0625", trials=[0], results=tmp_path / "r")
    assert [row.trial for row in found] == [0]
    assert found.summaries[0].control is not None


def test_a_set_that_does_not_verify_is_not_scored(made: PoisonSet, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(Exception, match="does not verify") as caught:
        ps.score(tmp_path)
    assert not isinstance(caught.value, ViolationError)  # damage, not a false claim


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("--surrogate and --surrogate-pool exclude one another", "surrogate= and surrogate_pool= exclude one another"),
        ("Add `--base digits`", 'Add `base="digits"`'),
        (
            "Type `poisonsets train --base b -o w`, then add `-o x`",
            'Type `poisonsets train --base b -o w`, then add `out="x"`',
        ),
        ("a well--known name", "a well--known name"),
    ],
)
def test_errors_name_arguments_and_leave_commands(said: str, wanted: str) -> None:
    assert python_words(said) == wanted


def test_errors_of_a_call_speak_python(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="poisons= and rate= exclude"):
        ps.craft("noise", base="digits", poisons=3, rate=0.1, out=tmp_path / "new")
    with pytest.raises(MissingError, match="no such folder"):
        ps.open_set(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="stepz"):
        ps.craft("bullseye-polytope", base="digits", stepz=3, out=tmp_path / "new")


def test_what_a_notebook_shows_is_escaped(made: PoisonSet) -> None:
    hostile = "<script>alert(1)</script>\"'"
    shown = markup.table(hostile, [hostile], [[hostile]])
    shown += markup.pictures(hostile, [(hostile, np.zeros((2, 2, 3), np.uint8))])
    assert "<script" not in shown
    assert shown.count("&lt;script") == 6  # the caption also stands in for its picture
    page = made[0]._repr_html_()
    assert page.count("data:image/png;base64,") == 6  # a base beside each poison
    assert "<script" not in page + made._repr_html_()


def test_tables_need_pandas(made: PoisonSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingError, match=r"poisonsets\[frames\]"):
        made.to_frame()


def test_tables_have_a_row_a_trial(made: PoisonSet) -> None:
    pytest.importorskip("pandas")
    assert list(made.to_frame()["trial"]) == [0, 1]
    assert ps.verify(made).to_frame().empty


def test_results_are_compared_and_nothing_is_not(made: PoisonSet) -> None:
    def first(training_set: Any, queries: Any) -> list[int]:
        return [0] * len(queries)

    table = ps.compare(ps.evaluate(made, first), ps.evaluate(made, first, victim="second"), by="defence")
    assert len(table) == 1
    assert "first" in str(table)
    assert "second" in table.text("md")
    assert "<script" not in table._repr_html_()
    with pytest.raises(UsageError, match="no rows to compare"):
        ps.compare()
