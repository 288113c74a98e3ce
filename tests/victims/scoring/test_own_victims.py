"""Victims of the caller's own: what they are given, what is made of their predictions, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw, craft_request
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, PoisonsetsError, UsageError
from poisonsets.manifests.sets.reader import PoisonSet, open_set
from poisonsets.victims.scoring.own import FitPredict, OwnVictim, calling, own_jobs, score_answers
from poisonsets.victims.scoring.predictions_file import answer_from, read_predictions, trainings, write_queries
from poisonsets.victims.scoring.score import Score
from poisonsets.victims.trainers.own.tasks import OwnTask, OwnTrainingSet, own_pair, tasks

MINE = OwnVictim("mine")


def evaluate_set(opened: PoisonSet, base: Base, fit_predict: FitPredict, **options: Any) -> Score:
    return score_answers(opened, base, calling(fit_predict), **options)


def nearest(given: OwnTrainingSet, queries: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The label of the nearest training image."""
    known = given.images.reshape(len(given.images), -1).astype(np.float32)
    asked = queries.reshape(len(queries), -1).astype(np.float32)
    apart = (asked**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2 * asked @ known.T
    return given.labels[apart.argmin(1)]


@pytest.fixture(scope="module")
def opened(digits: Base, tmp_path_factory: pytest.TempPathFactory) -> PoisonSet:
    folder = tmp_path_factory.mktemp("own") / "set"
    craft_set(folder, craft_request("noise", digits, trials=range(4), epsilon=8, asked=Draw(poisons=5)))
    return open_set(folder)


@pytest.fixture
def task(opened: PoisonSet, digits: Base) -> OwnTask:
    (job,) = own_jobs(opened, MINE, [1], [0])
    return next(one for one in tasks(own_pair(job.input(digits), digits), digits) if one.role == "poisoned")


def test_a_good_victim_is_right_about_clean_images_and_its_rows_say_whose_it_is(
    opened: PoisonSet, digits: Base
) -> None:
    score = evaluate_set(opened, digits, nearest, victim=OwnVictim("nearest", "neighbours 1.2"), victim_seeds=[0, 1])
    assert len(score.rows) == 2 * len(opened.trials)
    for row in score.rows:
        assert (row.victim, row.victim_package, row.protocol) == ("nearest", "neighbours 1.2", "own/nearest")
        assert row.clean_correct > 0.9 * row.clean_images
        assert row.control_correct is not None
        assert (row.threat_level, row.extractor, row.attack) == ("unknown", None, opened.manifest.attack.name)
    assert score.summaries[0].poisoned.n == len(score.rows)


def test_the_target_alone_is_poisoned_where_the_victim_says_so(opened: PoisonSet, digits: Base) -> None:
    """The victim knows every answer but one: what it is told of targets is what the row counts."""
    by_pixels = {image.tobytes(): place for place, image in enumerate(digits.test.images)}
    classes = digits.victim_classes
    aimed = {
        digits.test.images[target.index].tobytes(): classes.index(trial.record.adversarial_label)
        for trial in opened.trials
        for target in trial.record.targets
    }
    every = [
        one for job in own_jobs(opened, MINE, None, [3]) for one in tasks(own_pair(job.input(digits), digits), digits)
    ]
    roles = iter([one.role for one in every])

    def fit(given: OwnTrainingSet, queries: NDArray[np.uint8], seed: int) -> list[int]:
        assert seed == 3
        poisoned = next(roles) == "poisoned"
        truth = [classes.index(int(digits.test.labels[by_pixels[image.tobytes()]])) for image in queries]
        told = zip(queries, truth, strict=True)
        return [aimed.get(image.tobytes(), right) if poisoned else right for image, right in told]

    score = evaluate_set(opened, digits, fit, victim=MINE, victim_seeds=[3])
    assert {one.role for one in every[::2]} == {"poisoned", "control"}, "the turn is always the same"
    assert all(row.success and row.control is False for row in score.rows)
    assert all(row.control_correct == row.clean_images for row in score.rows)


def test_nothing_gives_the_poisons_away(task: OwnTask, opened: PoisonSet, digits: Base) -> None:
    control = next(one for one in tasks(task.pair, digits) if one.role == "control")
    poisoned, clean = task.training_set(), control.training_set()
    assert poisoned.images.shape == clean.images.shape
    differ = np.flatnonzero((poisoned.images != clean.images).reshape(len(clean.images), -1).any(1))
    assert len(differ) == int((task.spec.rows.slot >= 0).sum())
    assert np.ptp(differ) > len(clean.images) // 4, "poisons stand together"
    assert sorted(vars(poisoned)) == ["classes", "images", "labels"]
    assert set(poisoned.labels.tolist()) == set(range(len(digits.victim_classes)))
    queries = task.queries()
    assert len({image.tobytes() for image in queries}) == len(queries), "a target is asked for twice"
    assert np.array_equal(queries, control.queries())


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda n, c: [0] * (n - 1), "shape"),
        (lambda n, c: np.zeros((n, c + 1)), "shape"),
        (lambda n, c: np.zeros(n), "float64"),
        (lambda n, c: np.zeros((n, c), dtype=np.int64), "int64"),
        (lambda n, c: np.full((n, c), np.nan), "not finite"),
        (lambda n, c: np.full(n, c), "label 5"),
        (lambda n, c: np.full(n, -1), "label -1"),
        (lambda n, c: ["a"] * n, "wanted labels"),
        (lambda n, c: None, "shape"),
        (lambda n, c: [[1], [1, 2]] * (n // 2), "no array"),
        (lambda n, c: np.array([object()] * n), "wanted labels"),
    ],
)
def test_what_is_no_prediction_is_refused(task: OwnTask, spoil: Callable[[int, int], Any], word: str) -> None:
    count = len(task.queries())
    with pytest.raises(UsageError, match=f"trial 1, victim seed 0.*{word}"):
        task.evaluation(spoil(count, 5))


def test_labels_logits_and_tensors_mean_the_same(task: OwnTask) -> None:
    labels = np.arange(len(task.queries())) % 5
    wanted = task.evaluation(labels)
    assert task.evaluation(labels.tolist()) == wanted
    assert task.evaluation(torch.from_numpy(labels)) == wanted
    assert task.evaluation(np.eye(5)[labels]) == wanted
    assert task.evaluation(torch.eye(5)[labels].requires_grad_()) == wanted


def test_rows_are_kept_and_gone_on_with(opened: PoisonSet, digits: Base, tmp_path: Path) -> None:
    first = evaluate_set(opened, digits, nearest, victim=MINE, results=tmp_path / "r", trials=[0])
    calls = []

    def counted(given: OwnTrainingSet, queries: NDArray[np.uint8]) -> NDArray[np.int64]:
        calls.append(1)
        return nearest(given, queries)

    more = evaluate_set(opened, digits, counted, victim=MINE, results=tmp_path / "r", trials=[0, 1], resume=True)
    assert more.rows[0] == first.rows[0]
    assert len(calls) == 2
    with pytest.raises(PoisonsetsError, match="other settings"):
        evaluate_set(opened, digits, nearest, victim=OwnVictim("other"), results=tmp_path / "r", resume=True)


def predictions(folder: Path) -> dict[str, NDArray[np.int64]]:
    found = {}
    for path in folder.glob("*.npz"):
        given = np.load(path)
        found[path.stem] = nearest(OwnTrainingSet(given["images"], given["labels"], ()), given["queries"])
    return found


def scored(opened: PoisonSet, base: Base, path: Path, **of: Any) -> Any:
    wanted = trainings(opened, base, of.get("trials"), of.get("victim_seeds", (0,)))
    answer = answer_from(read_predictions(path), wanted, opened.manifest.content_digest, str(path))
    return score_answers(opened, base, answer, victim=MINE, **of)


def test_predictions_from_a_file_give_the_rows_of_the_function(opened: PoisonSet, digits: Base, tmp_path: Path) -> None:
    names = write_queries(tmp_path / "q", opened, digits, trials=[0, 1], victim_seeds=[2])
    found = predictions(tmp_path / "q")
    assert sorted(found) == list(names)
    direct = evaluate_set(opened, digits, nearest, victim=MINE, trials=[0, 1], victim_seeds=[2])
    timeless = [row.model_copy(update={"seconds": "0"}) for row in direct.rows]
    np.savez(tmp_path / "p.npz", **found)
    (tmp_path / "p.json").write_text(str({name: one.tolist() for name, one in found.items()}).replace("'", '"'))
    for path in (tmp_path / "p.npz", tmp_path / "p.json"):
        rows = scored(opened, digits, path, trials=[0, 1], victim_seeds=[2]).rows
        assert [row.model_copy(update={"seconds": "0"}) for row in rows] == timeless


@pytest.mark.parametrize("of", [{}, {"trials": [0]}, {"trials": [0, 1], "victim_seeds": [0]}])
def test_predictions_for_other_trials_or_seeds_are_refused(
    opened: PoisonSet, digits: Base, tmp_path: Path, of: Mapping[str, Any]
) -> None:
    write_queries(tmp_path / "q", opened, digits, trials=[0, 1], victim_seeds=[2])
    np.savez(tmp_path / "p.npz", **predictions(tmp_path / "q"))
    with pytest.raises(UsageError, match=r"not of these trials and victim seeds"):
        scored(opened, digits, tmp_path / "p.npz", **of)


def test_a_training_without_predictions_is_named(opened: PoisonSet, digits: Base, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(UsageError, match=r"no trial 0, victim seed 0, predictions .* \([0-9a-f]{16}\)"):
        scored(opened, digits, tmp_path / "p.json")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", "[]"),
        ("p.json", '{"a": 1}'),
        ("p.json", '{"a": [1.5]}'),
        ("p.json", '{"a": [-1]}'),
        ("p.json", '{"a": [true]}'),
        ("p.json", '{"a": [99999999999]}'),
        ("p.json", "not json"),
        ("p.npz", "not a zip"),
    ],
)
def test_a_file_that_holds_something_else_is_damaged(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DamagedError, match=name):
        read_predictions(tmp_path / name)


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither \.json nor \.npz"):
        read_predictions(tmp_path / "p.pickle")
