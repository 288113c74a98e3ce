"""Setup files: the published pickles read exactly, our JSON form, and files that say something else."""

from __future__ import annotations

import hashlib
import json
import os
import pickle  # writes fixtures; the project itself never imports it
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.trials.setup_file import Entry, read_setup

DATA = os.environ.get("POISONSETS_DATA", "")
real = pytest.mark.skipif(not DATA, reason="POISONSETS_DATA does not name a folder with the published setups")
# From the benchmark's own files: digest, bases a trial, smallest and largest base and target index, repeated bases.
PUBLISHED = {
    "cifar10_transfer_learning": (
        "2510d189785725e36aef0f36ad020cebcecebe18af2f7450a72d6f773a662485", 25, (9, 49922), (156, 9996), [78, 84]
    ),
    "cifar10_from_scratch": (
        "cd763e45a9dc6619f9f7d0f48613ef9c39b7ef98ce0e28cdf31da69cb30429df", 500, (0, 49999), (20, 9957), []
    ),
}  # fmt: skip


def base_of(train: Any, test: Any) -> Base:
    """A base with these labels and blank pixels."""
    splits = [Split(np.zeros((len(x), 1, 1, 3), np.uint8), np.array(x, np.int64)) for x in (train, test)]
    classes = tuple(map(str, range(10)))
    return Base("cifar10", classes, *splits, tuple(range(10)), tuple(range(10)), mirror=True)


TRIAL = {"target class": 1, "target index": 2, "base class": 0, "base indices": np.array([3, 0, 3])}
JSON_TRIAL = {"target_class": 1, "target_index": 2, "base_class": 0, "base_indices": [3, 0, 3]}
BASE = base_of([0, 1, 0, 0, 2], [0, 0, 1])


def pickled(folder: Path, trials: Any, protocol: int = 4) -> Path:
    path = folder / "setup.pickle"
    path.write_bytes(pickle.dumps(trials, protocol))
    return path


def written(folder: Path, document: Any) -> Path:
    path = folder / "setup.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    return path


@real
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_pickles_say_what_was_measured_on_them(name: str) -> None:
    digest, bases, base_range, target_range, repeated = PUBLISHED[name]
    setup = read_setup(Path(DATA) / "setups" / f"{name}.pickle")
    assert setup.record.digest == digest
    assert setup.record.name == f"{name}.pickle"
    assert len(setup.entries) == 100
    assert {len(entry.base_indices) for entry in setup.entries} == {bases}
    every = [index for entry in setup.entries for index in entry.base_indices]
    assert (min(every), max(every)) == base_range
    targets = [entry.target_index for entry in setup.entries]
    assert (min(targets), max(targets)) == target_range
    assert all(entry.base_class != entry.target_class for entry in setup.entries)
    assert [i for i, e in enumerate(setup.entries) if len(set(e.base_indices)) < bases] == repeated


@real
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_trial_fits_cifar10_and_no_other_order(name: str) -> None:
    pack = np.load(Path(DATA) / "cifar10.npz")
    base = base_of(pack["train_labels"], pack["test_labels"])
    setup = read_setup(Path(DATA) / "setups" / f"{name}.pickle")
    for number, entry in enumerate(setup.entries):
        plan = setup.plan(base, number)
        assert (plan.trial, plan.bases, plan.adversarial_label) == (number, entry.base_indices, entry.base_class)
        assert [(t.split, t.index, t.label) for t in plan.targets] == [("test", entry.target_index, entry.target_class)]
    shifted = base_of(np.roll(pack["train_labels"], 1), pack["test_labels"])
    with pytest.raises(UsageError, match=r"trial 0: train image .* has label"):
        setup.plan(shifted, 0)
    with pytest.raises(UsageError, match="trial 100 is outside 0-99"):
        setup.plan(base, 100)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_and_integer_type(tmp_path: Path, protocol: int) -> None:
    for wrap in (int, np.int64, np.int32):
        for bases in (np.array([3, 0, 3]), [3, 0, 3], (3, 0, 3), np.array([3, 0, 3], "u1")):
            trial = {key: wrap(TRIAL[key]) for key in ("target class", "target index", "base class")}
            path = pickled(tmp_path, [trial | {"base indices": bases}] * 2, protocol)
            assert read_setup(path).entries == (Entry(1, 2, 0, (3, 0, 3)),) * 2


def test_our_form_says_the_same_as_the_pickle(tmp_path: Path) -> None:
    path = written(tmp_path, {"format": "poisonset-setups/1", "trials": [JSON_TRIAL]})
    setup = read_setup(path)
    assert setup.entries == read_setup(pickled(tmp_path, [TRIAL])).entries
    assert setup.record.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    plan = setup.plan(BASE, 0)
    assert (plan.bases, plan.adversarial_label, plan.targets[0].label) == ((3, 0, 3), 0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_index": 1}, "trial 0: test image 1 of base cifar10 has label 0, the setup says 1"),
        ({"target_index": 3}, "trial 0: test image 3 is outside 0-2"),
        ({"base_indices": [0, 4]}, "trial 0: train image 4 of base cifar10 has label 2, the setup says 0"),
        ({"base_indices": [0, 5]}, "trial 0: train image 5 is outside 0-4"),
        ({"base_class": 5}, "train image 3 of base cifar10 has label 0"),
        ({"target_class": 0, "target_index": 0}, "one class"),
    ],
)
def test_a_setup_for_another_base_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = written(tmp_path, {"format": "poisonset-setups/1", "trials": [JSON_TRIAL | change]})
    with pytest.raises(UsageError, match=message):
        read_setup(path).plan(BASE, 0)


def test_one_large_array_named_many_times_is_refused_before_it_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETUP_BASES", 2500)
    large = np.zeros(1000, np.uint8)
    trials = [dict(TRIAL, **{"base indices": large}) for _ in range(3)]
    path = pickled(tmp_path, trials)
    assert path.stat().st_size < 2000
    assert len(read_setup(pickled(tmp_path, trials[:2])).entries) == 2
    with pytest.raises(DamagedError, match="trial 2: more than 2500 base indices"):
        read_setup(pickled(tmp_path, trials))


@pytest.mark.parametrize("number", [-1, 1, 10**9])
def test_trials_outside_the_file_are_usage_errors(tmp_path: Path, number: int) -> None:
    with pytest.raises(UsageError, match=f"trial {number} is outside 0-0"):
        read_setup(pickled(tmp_path, [TRIAL])).plan(BASE, number)


def changed(**fields: Any) -> dict[str, Any]:
    return TRIAL | {key.replace("_", " "): value for key, value in fields.items()}


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        TRIAL,
        None,
        "text",
        [TRIAL, 5],
        [{}],
        [TRIAL | {"more": 1}],
        [{key: value for key, value in TRIAL.items() if key != "base class"}],
        [changed(base_indices=[])],
        [changed(base_indices=5)],
        [changed(base_indices=[1, True])],
        [changed(base_indices=[1, [2]])],
        [changed(base_indices=np.zeros((2, 2), np.int64))],
        [changed(base_indices=np.zeros(2))],
        [changed(base_indices=np.array([-1]))],
        [changed(target_index=-1)],
        [changed(target_index=2**53 + 1)],
        [changed(target_index=2.0)],
        [changed(target_class=True)],
        [changed(base_class="1")],
        [changed(base_class=None)],
        [TRIAL] * (limits.TRIALS + 1),
    ],
)
def test_pickles_that_are_no_setup_are_damage(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DamagedError, match=r"^setup\.pickle: "):
        read_setup(pickled(tmp_path, value))


@pytest.mark.parametrize(
    "document",
    [
        "{",
        '{"format": "poisonset-setups/1"}',
        {"format": "poisonset-setups/2", "trials": [JSON_TRIAL]},
        {"trials": [JSON_TRIAL]},
        {"format": "poisonset-setups/1", "trials": [JSON_TRIAL], "more": 1},
        {"format": "poisonset-setups/1", "trials": {"0": JSON_TRIAL}},
        {"format": "poisonset-setups/1", "trials": [TRIAL | {"base indices": [1]}]},
        {"format": "poisonset-setups/1", "trials": [JSON_TRIAL | {"base_class": 1.0}]},
        {"format": "poisonset-setups/1", "trials": [JSON_TRIAL | {"base_class": True}]},
        {"format": "poisonset-setups/1", "trials": [JSON_TRIAL | {"base_class": float("nan")}]},
        '{"format": "poisonset-setups/1", "trials": [], "trials": []}',
        '{"a":' * 100_000,
        '{"format": "poisonset-setups/1", "trials": [' + "9" * 5000 + "]}",
    ],
)
def test_json_that_is_no_setup_is_damage(tmp_path: Path, document: Any) -> None:
    with pytest.raises(DamagedError, match=r"^setup\.json: "):
        read_setup(written(tmp_path, document))


def test_a_setup_that_would_run_code_is_damage(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for trials in (Runs(), [Runs()], [changed(base_indices=Runs())]):
        with pytest.raises(DamagedError, match="system is not allowed"):
            read_setup(pickled(tmp_path, trials))
    assert not (tmp_path / "ran").exists()


def test_large_missing_and_special_files(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_setup(tmp_path / "nowhere")
    with pytest.raises(DamagedError, match="not a regular file"):
        read_setup(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedError, match="not a regular file"):
        read_setup(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(limits.SETUP_BYTES + 1))
    with pytest.raises(DamagedError, match="larger than"):
        read_setup(tmp_path / "large")
