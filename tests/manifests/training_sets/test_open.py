"""A whole training set is taken apart without loss: victims train on the set, clean controls on the base."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from forge import small_base
from training_set_shards import write_shards

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.overlay.compose import clean_control, compose, composed_images
from poisonsets.manifests.overlay.stamp import Trigger, stamp
from poisonsets.manifests.records.triggers import FixedPlace, PatchTrigger
from poisonsets.manifests.training_sets.open import open_training_set
from poisonsets.manifests.training_sets.targets_file import FORMAT, TargetEntry, TargetsFile, TargetSpec, source_targets
from poisonsets.manifests.training_sets.training_set import OpenTrainingSet

ASKED = source_targets((0,), 1)


def twins(seed: int = 0) -> Base:
    """A base with four classes of which victims know three, and with two equal images of class 2."""
    base = small_base(classes=4, each=8, side=4, seed=seed)
    images = base.train.images.copy()
    first, second = np.flatnonzero(base.train.labels == 2)[:2]
    images[second] = images[first]
    return replace(base, train=Split(images, base.train.labels), victim_classes=(2, 0, 1))


def changed(base: Base, seed: int) -> tuple[Images, Labels]:
    """Some of the base's images lost, some changed, some relabelled, some twice, all in another order."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(base.train.labels), rng.integers(1, 50))
    images, labels = base.train.images[rows], base.train.labels[rows].copy()
    for row in range(len(rows)):
        if rng.random() < 0.3:
            images[row, tuple(rng.integers(0, 4, 2))] ^= 1
        if rng.random() < 0.2:
            labels[row] = rng.integers(0, 4)
    return images, labels


def bag(images: Images, labels: Labels) -> Counter[tuple[bytes, int]]:
    return Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def opened(tmp_path: Path, base: Base, images: Images, labels: Labels, asked: TargetSpec = ASKED) -> OpenTrainingSet:
    return open_training_set(write_shards(tmp_path / "set", images, labels), base, asked)


@pytest.mark.parametrize("seed", range(20))
def test_victims_train_on_exactly_the_set_and_controls_on_the_base(tmp_path: Path, seed: int) -> None:
    base = twins(seed)
    images, labels = changed(base, seed)
    known = np.isin(labels, base.victim_classes)
    if not bag(images[known], labels[known]) - bag(base.train.images, base.train.labels):
        images, labels = np.concatenate([images, images[:1] ^ 1]), np.append(labels, 0)
        known = np.append(known, True)
    (trial,) = opened(tmp_path, base, images, labels).trials
    truth, rule = base.train.labels, trial.record.composition
    rows = compose(truth, trial.record, rule, base.victim_classes)
    trained = composed_images(base.train.images, rows, trial.poisons()[0])
    assert bag(trained, rows.label) == bag(images[known], labels[known])
    control = clean_control(truth, rows, rule, base.victim_classes)
    assert control is not None
    assert control.base.tolist() == np.flatnonzero(np.isin(truth, base.victim_classes)).tolist()
    assert (control.slot == -1).all()
    assert np.array_equal(control.label, truth[control.base])
    # An image is the base's own wherever the base has one left.
    common = bag(images[known], labels[known]) & bag(base.train.images, truth)
    assert (rows.slot < 0).sum() == common.total()


def test_what_was_found_is_counted(tmp_path: Path) -> None:
    base = twins()
    rows = {label: np.flatnonzero(base.train.labels == label) for label in range(4)}
    images, labels = base.train.images.copy(), base.train.labels.copy()
    images[rows[1][:3]] ^= 1
    labels[rows[0][0]] = 1
    keep = np.setdiff1d(np.arange(len(labels)), rows[2][:2])
    again = rows[0][-1:]
    order = np.concatenate([keep, again])
    found = opened(tmp_path, base, images[order], labels[order]).contents
    assert (found.images, found.shards, found.elsewhere) == (len(order), 2, 8)
    assert (found.own, found.others, found.other_labels) == (18, 5, {0: 1, 1: 4})
    assert (found.missing, found.relabelled) == (6, 1)
    assert (found.targets_trained_on, found.test_images, found.source_images, found.warnings()) == ((), 0, 0, ())
    assert (
        "18 are the base's own, 5 are others (class 0: 1, class 1: 4), 6 of the base's are missing" in found.lines()[0]
    )
    assert json.loads(json.dumps(asdict(found)))["other_labels"] == {"0": 1, "1": 4}


@pytest.mark.parametrize("stamped", [False, True])
def test_a_target_that_is_trained_on_is_said_loudly(tmp_path: Path, stamped: bool) -> None:
    base = twins()
    first, *others = np.flatnonzero(base.test.labels == 0).tolist()
    record = PatchTrigger(image="triggers/t.png", place=FixedPlace(row=0, column=1))
    trigger = Trigger(record, image=np.full((2, 2, 3), 7, dtype=np.uint8))
    leaked = base.test.images[[first, others[0]]].copy()
    if stamped:
        leaked[0] = stamp(leaked[0], trigger, f"test/{first}")
    images = np.concatenate([base.train.images, leaked])
    labels = np.append(base.train.labels, [1, 0])
    found = opened(tmp_path, base, images, labels, ASKED.with_trigger(trigger)).contents
    (known,) = found.targets_trained_on
    assert (known.trial, known.image, known.label, known.stamped) == (0, f"test/{first}", 1, stamped)
    assert (found.source_images, found.test_images) == (2, 1 if stamped else 2)
    assert f"test/{first}{' with the trigger on' if stamped else ''} is among the training" in found.warnings()[0]
    assert list(asdict(found)["targets_trained_on"]) == [
        {"trial": 0, "image": f"test/{first}", "label": 1, "stamped": stamped}
    ]


def test_each_target_is_a_trial_with_the_same_slots(tmp_path: Path) -> None:
    base = twins()
    wanted = [("test", 3), ("train", 5), ("test", 0)]
    targets = tuple(
        TargetEntry(split=split, index=i, label=int(base.split(split).labels[i]), adversarial_label=10 + i)
        for split, i in wanted
    )
    found = opened(
        tmp_path,
        base,
        base.train.images ^ 1,
        base.train.labels,
        TargetSpec(TargetsFile(format=FORMAT, targets=targets)),
    )
    assert [trial.record.trial for trial in found.trials] == [0, 1, 2]
    assert [trial.record.adversarial_label for trial in found.trials] == [13, 15, 10]
    for trial, (split, i) in zip(found.trials, wanted, strict=True):
        assert np.array_equal(trial.target_images(base)[0], base.split(split).images[i])
        assert len(trial.source_images(base)) == 0
        assert trial.record.slots is found.trials[0].record.slots
        assert trial.poisons()[0] is found.trials[0].images


def test_a_block_of_trials_travels_to_a_worker_with_one_copy_of_the_images(tmp_path: Path) -> None:
    base = small_base(classes=3, each=20, side=16)
    targets = tuple(
        TargetEntry(split="test", index=i, label=int(base.test.labels[i]), adversarial_label=9) for i in range(5)
    )
    asked = TargetSpec(TargetsFile(format=FORMAT, targets=targets))
    trials = opened(tmp_path, base, base.train.images ^ 1, base.train.labels, asked).trials
    sent = ForkingPickler.dumps(trials)
    assert len(sent) < 1.2 * trials[0].images.nbytes
    for there, here in zip(ForkingPickler.loads(sent), trials, strict=True):
        assert there.record == here.record
        assert np.array_equal(there.poisons()[0], here.poisons()[0])


def test_of_source_classes_the_first_test_image_is_the_target(tmp_path: Path) -> None:
    base = twins()
    (trial,) = opened(tmp_path, base, base.train.images ^ 1, base.train.labels, source_targets((0, 2), 1)).trials
    sources = np.flatnonzero(np.isin(base.test.labels, (0, 2)))
    assert np.array_equal(trial.source_images(base), base.test.images[sources])
    (target,) = trial.record.targets
    assert (target.index, target.label) == (sources[0], base.test.labels[sources[0]])


def digest(
    tmp_path: Path, base: Base, images: Images, labels: Labels, asked: TargetSpec = ASKED, parts: int = 2
) -> str:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    return open_training_set(write_shards(folder, images, labels, parts=parts), base, asked).manifest.content_digest


def test_the_identity_covers_images_labels_order_and_questions_but_not_files(tmp_path: Path) -> None:
    base = twins()
    images, labels = base.train.images ^ 1, base.train.labels
    record = PatchTrigger(image="triggers/t.png", place=FixedPlace(row=0, column=1))
    moved = PatchTrigger(image="triggers/t.png", place=FixedPlace(row=1, column=1))
    grey, white = (np.full((2, 2, 3), level, dtype=np.uint8) for level in (7, 255))
    relabelled, other = labels.copy(), images.copy()
    relabelled[0], other[3, 0, 0, 0] = (labels[0] + 1) % 4, other[3, 0, 0, 0] ^ 2
    same = digest(tmp_path, base, images, labels)
    assert digest(tmp_path, base, images, labels, parts=3) == same
    renamed = record.model_copy(update={"image": "triggers/u.png"})
    stamped = digest(tmp_path, base, images, labels, ASKED.with_trigger(Trigger(record, image=grey)))
    assert digest(tmp_path, base, images, labels, ASKED.with_trigger(Trigger(renamed, image=grey))) == stamped
    all_different = [
        same,
        stamped,
        digest(tmp_path, base, images[::-1], labels[::-1]),
        digest(tmp_path, base, images, relabelled),
        digest(tmp_path, base, other, labels),
        digest(tmp_path, replace(base, victim_classes=(0, 1)), images, labels),
        digest(tmp_path, base, images, labels, source_targets((0,), 2)),
        digest(tmp_path, base, images, labels, ASKED.with_trigger(Trigger(record, image=white))),
        digest(tmp_path, base, images, labels, ASKED.with_trigger(Trigger(moved, image=grey))),
    ]
    assert len(set(all_different)) == len(all_different)


def test_lossy_images_are_all_others_and_that_is_said(tmp_path: Path) -> None:
    base = twins()
    folder = write_shards(tmp_path / "set", base.train.images, base.train.labels, kind="jpg")
    found = open_training_set(folder, base, ASKED).contents
    assert (found.own, found.others, found.missing) == (0, 24, 24)
    assert "no image equals one of the base" in found.lines()[1]


@pytest.mark.parametrize("name", ["set", "set/part-{000..001}.tar", "set/part-00{0..1}.tar"])
def test_shards_are_named_by_folder_or_pattern(tmp_path: Path, name: str) -> None:
    base = twins()
    write_shards(tmp_path / "set", base.train.images ^ 1, base.train.labels)
    assert open_training_set(tmp_path / name, base, ASKED).contents.images == 32
    assert open_training_set(tmp_path / "set" / "part-001.tar", base, ASKED).contents.images == 16


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("none", MissingError, "no such file"),
        ("set/part-{000..002}.tar", MissingError, "part-002"),
        ("set/part-{001..000}.tar", UsageError, "runs backwards"),
        ("set/{000..999}/{000..999}.tar", UsageError, "more than"),
        ("pipe:touch {0..1}", MissingError, "no such file"),
        (".", MissingError, "no training shards"),
    ],
)
def test_shards_that_are_not_there_are_refused(
    tmp_path: Path, name: str, error: type[PoisonsetsError], says: str
) -> None:
    base = twins()
    write_shards(tmp_path / "set", base.train.images ^ 1, base.train.labels)
    with pytest.raises(error, match=says):
        open_training_set(tmp_path / name, base, ASKED)


def test_sets_that_do_not_fit_the_base_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = twins()
    images, labels = base.train.images, base.train.labels
    with pytest.raises(UsageError, match="so there is nothing to score"):
        opened(tmp_path, base, images[3:], labels[3:])
    with pytest.raises(UsageError, match=r"class [4-7], small has 0-3"):
        opened(tmp_path, base, images, labels + 4)
    with pytest.raises(UsageError, match=r"000000: 5x4 pixels, images of small have 4x4"):
        opened(tmp_path, base, np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 0))), labels)
    with pytest.raises(UsageError, match="no test image of source class 9"):
        opened(tmp_path, base, images ^ 1, labels, source_targets((9,), 1))
    far = TargetEntry(split="test", index=99, label=0, adversarial_label=1)
    with pytest.raises(UsageError, match=r"test/99 is not in small"):
        opened(tmp_path, base, images ^ 1, labels, TargetSpec(TargetsFile(format=FORMAT, targets=(far,))))
    monkeypatch.setattr(limits, "SLOTS_PER_TRIAL", 5)
    with pytest.raises(UsageError, match="more than 5 images are not those of small"):
        opened(tmp_path, base, images ^ 1, labels)


def test_a_trigger_that_does_not_fit_is_refused_at_once(tmp_path: Path) -> None:
    record = PatchTrigger(image="triggers/t.png", place=FixedPlace(row=3, column=3))
    trigger = Trigger(record, image=np.zeros((2, 2, 3), dtype=np.uint8))
    base = twins()
    with pytest.raises(UsageError, match="leaves the 4x4 image"):
        opened(tmp_path, base, base.train.images ^ 1, base.train.labels, ASKED.with_trigger(trigger))


def test_a_cut_archive_is_damage(tmp_path: Path) -> None:
    base = twins()
    folder = write_shards(tmp_path / "set", base.train.images ^ 1, base.train.labels)
    data = (folder / "part-001.tar").read_bytes()
    (folder / "part-001.tar").write_bytes(data[:10_000])
    with pytest.raises(DamagedError, match=r"part-001\.tar"):
        open_training_set(folder, base, ASKED)
