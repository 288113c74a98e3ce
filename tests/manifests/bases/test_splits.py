"""Splits are told by names, however they are spelled; what looks like one and is left over is said, never guessed."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from sources import SOURCES, arrays, folder, hdf5, members, passed, picture, put, read, tar, tinyimagenet, webdataset

from poisonsets.manifests.errors import MissingError, PoisonsetsError, UnsupportedError, UsageError
from poisonsets.manifests.files.shard_files import COMPRESSED
from poisonsets.manifests.files.split_names import is_plain, split_of

TRAIN = ("train", "training", "Train", "TRAIN", "Training")
TEST = ("test", "testing", "val", "valid", "validation", "dev", "eval", "Test", "VAL", "Validation")
PLACES = (
    "{}",
    "{}-0",
    "{}_0",
    "flowers-{}-00",
    "flowers_{}_3",
    "0-{}",
    "flowers_{}",
    "{}set",
    "{}_set",
    "{}Set",
    "{}2017",
)


@pytest.mark.parametrize("word", [*TRAIN, *TEST])
@pytest.mark.parametrize("place", PLACES)
def test_a_split_is_told_wherever_its_word_stands(word: str, place: str) -> None:
    name = place.format(word)
    if word.isupper() and place == "{}Set":
        name = name.upper()
    wanted = "train" if word in TRAIN else "test" if word.lower() in ("test", "testing") else "val"
    assert split_of(name) == wanted
    assert is_plain(name) == ("flowers" not in place)


@pytest.mark.parametrize(
    "name",
    ["protest", "latest", "invalid", "trainer", "strain-0", "contest_1", "device", "0", "train-test", "evaluate"],
)
def test_other_words_tell_no_split(name: str) -> None:
    assert split_of(name) is None


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("train", TRAIN)
def test_f3_every_spelling_of_train_is_read_by_every_reader(tmp_path: Path, kind: str, train: str) -> None:
    ending = "-0.tar" if kind == "webdataset" else ""
    plain = read(kind, SOURCES[kind](tmp_path / "plain"))
    made = read(kind, SOURCES[kind](tmp_path / "made", train=f"{train}{ending}"))
    assert [made.train.digest, made.test.digest] == [plain.train.digest, plain.test.digest]


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("test", TEST)
def test_f3_every_spelling_of_test_is_read_by_every_reader(tmp_path: Path, kind: str, test: str) -> None:
    if kind == "tinyimagenet" and test.lower().startswith("test"):
        pytest.skip("the official test images have no labels")
    ending = "-0.tar" if kind == "webdataset" else ""
    plain = read(kind, SOURCES[kind](tmp_path / "plain"))
    made = read(kind, SOURCES[kind](tmp_path / "made", test=f"{test}{ending}"))
    assert made.test.digest == plain.test.digest
    assert made.inventory is not None
    assert test in made.inventory.origins["test"]
    assert passed(made) == {}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("x-train-0.tar", "x-test-0.tar"),
        ("train_0.tar", "test_0.tar"),
        ("train/0.tar", "test/0.tar"),
        ("data/train-00000-of-00001.tar", "data/validation-00000-of-00001.tar"),
        ("imagenet_train.tar", "imagenet_val.tar"),
        ("0.train.tar", "0.dev.tar"),
    ],
)
def test_f3_shards_of_the_sheet(tmp_path: Path, train: str, test: str) -> None:
    made = read("webdataset", webdataset(tmp_path, train, test))
    assert (len(made.train.labels), len(made.test.labels)) == (6, 4)


def test_f3_folders_of_the_sheet(tmp_path: Path) -> None:
    folder(tmp_path / "imagenet", test="val")
    put(tmp_path / "imagenet" / "test" / "0.JPEG", picture(0, "JPEG"))
    made = read("folder", tmp_path / "imagenet")
    assert len(made.test.labels) == 4
    assert passed(made) == {"images of a split without class folders, so without labels": 1}
    folder(tmp_path / "both")
    folder(tmp_path / "both", test="val")
    made = read("folder", tmp_path / "both")
    (further,) = made.inventory.passed if made.inventory else ()
    assert (further.count, further.examples) == (4, ("val/",))
    assert "--test val" in further.remedy
    wider = read("folder", tmp_path / "both", train=("train", "val"))
    assert (len(wider.train.labels), len(wider.test.labels), passed(wider)) == (10, 4, {})
    other = read("folder", tmp_path / "both", test=("val",))
    assert passed(other) == {"images of a further split": 4}


def test_f3_tiny_imagenet_sorted_into_class_folders_is_the_same(tmp_path: Path) -> None:
    official = tinyimagenet(tmp_path / "official")
    wanted = read("tinyimagenet", official)
    for inner in ("", "images"):
        root = tinyimagenet(tmp_path / f"sorted{inner}")
        lines = (root / "val" / "val_annotations.txt").read_text().splitlines()
        for name, wnid in (line.split("\t")[:2] for line in lines):
            put(root / "val" / wnid / inner / name, (root / "val" / "images" / name).read_bytes())
            (root / "val" / "images" / name).unlink()
        (root / "val" / "images").rmdir()
        (root / "val" / "val_annotations.txt").unlink()
        put(root / "test" / "images" / "test_0.JPEG", picture(0, "JPEG"))
        made = read("tinyimagenet", root)
        assert [made.train.digest, made.test.digest] == [wanted.train.digest, wanted.test.digest]
        assert sum(passed(made).values()) == 1


@pytest.mark.parametrize("names", [("dev", "val"), ("test", "testing_set"), ("eval", "valid")])
def test_two_folders_for_one_split_are_refused_by_name(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        folder(tmp_path, test=name)
    with pytest.raises(UsageError, match=rf"{names[0]} and {names[1]} could each be the test split.*--test {names[0]}"):
        read("folder", tmp_path)
    assert len(read("folder", tmp_path, test=names).test.labels) == 8


@pytest.mark.parametrize("name", ["test", "Testing", "val", "test_images", "unlabeled_test", "eval1"])
def test_a_flat_split_beside_classes_is_no_class(tmp_path: Path, name: str) -> None:
    for one in ("cat", "dog", name):
        put(tmp_path / one / "0.png", picture(len(one)))
    with pytest.raises(UsageError, match=rf"{name}/ without class folders.*--train \."):
        read("folder", tmp_path, holdout="1/3")
    assert read("folder", tmp_path, holdout="1/3", train=(".",)).classes == tuple(sorted(("cat", "dog", name)))


@pytest.mark.parametrize("name", ["train", "test_tube", "train_station", "protest", "development board"])
def test_a_class_may_have_such_a_word_in_its_name(tmp_path: Path, name: str) -> None:
    for one in ("bus", "car", name):
        put(tmp_path / one / "0.png", picture(len(one)))
    assert name in read("folder", tmp_path, holdout="1/3").classes


def test_splits_without_class_folders_are_no_classes(tmp_path: Path) -> None:
    for one in ("train", "test1"):
        put(tmp_path / one / "0.png", picture(1))
    with pytest.raises(UsageError, match="test1/ and train/"):
        read("folder", tmp_path, holdout="1/2")


def test_a_test_split_without_a_training_split_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, train="flowers")
    with pytest.raises(UsageError, match="test/ holds class folders like a test split"):
        read("folder", tmp_path)
    assert len(read("folder", tmp_path, train=("flowers",)).train.labels) == 6


def test_shards_of_a_further_split_and_of_none_are_counted(tmp_path: Path) -> None:
    webdataset(tmp_path)
    for name in ("val-0.tar", "extra.tar"):
        tar(tmp_path / name, members("test"))
    made = read("webdataset", tmp_path)
    assert passed(made) == {"shards of a further split": 1, "shards whose names tell no split": 1}
    assert len(read("webdataset", tmp_path, train=("train-*.tar", "extra.tar"), test=("val-?.tar",)).train.labels) == 10
    with pytest.raises(MissingError, match="no shard matches x"):
        read("webdataset", tmp_path, train=("x*",))
    with pytest.raises(UsageError, match="matched by --train and --test"):
        read("webdataset", tmp_path, train=("*.tar",), test=("val*",))
    tar(tmp_path / "train" / "test-9.tar", members("test"))
    with pytest.raises(UsageError, match="tells of test and train"):
        read("webdataset", tmp_path)


def test_shards_of_other_datasets_are_not_taken(tmp_path: Path) -> None:
    webdataset(tmp_path / "cifar")
    webdataset(tmp_path / "digits")
    with pytest.raises(MissingError, match="no training shards"):
        read("webdataset", tmp_path)


@pytest.mark.parametrize("ending", COMPRESSED)
def test_f14_compressed_shards_are_refused_with_what_unpacks_them(tmp_path: Path, ending: str) -> None:
    webdataset(tmp_path)
    put(tmp_path / f"train-1{ending}", b"packed")
    with pytest.raises(UnsupportedError, match=f"{COMPRESSED[ending]} .*train-1"):
        read("webdataset", tmp_path)
    put(tmp_path / "train-1.tar", (tmp_path / "train-0.tar").read_bytes())
    assert len(read("webdataset", tmp_path).train.labels) == 12


def written(path: Path, **found: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in found.items():
            file[name.replace("__", "/")] = values
    return path


def test_f8_hdf5_of_other_spellings(tmp_path: Path) -> None:
    wanted = read("hdf5", hdf5(tmp_path))
    (images, labels), (tested, true) = arrays("train"), arrays("test")
    for number, found in enumerate(
        (
            {"train_images": images, "train_labels": labels, "test_images": tested, "test_labels": true},
            {"x_train": images, "y_train": labels, "x_val": tested, "y_val": true},
            {"train__data": images, "train__targets": labels[:, None], "valid__data": tested, "valid__targets": true},
            {"train__images": images.transpose(0, 3, 1, 2), "train__labels": labels, "dev__x": tested, "dev__y": true},
        )
    ):
        made = read("hdf5", written(tmp_path / f"{number}.h5", **found))
        assert [made.train.digest, made.test.digest] == [wanted.train.digest, wanted.test.digest], number
    root = written(tmp_path / "root.h5", images=images, labels=labels)
    with pytest.raises(UsageError, match=r"no test split.*holdout"):
        read("hdf5", root)
    assert len(read("hdf5", root, holdout="1/2").train.labels) == 3
    for grey in (images[..., 0], images[..., :1], images[:, None, :, :, 0]):
        made = read("hdf5", written(tmp_path / "grey.h5", images=grey, labels=labels), holdout="1/2")
        assert (made.train.images[..., 0] == made.train.images[..., 2]).all()
    with h5py.File(root, "a") as file:
        file.attrs["classes"] = ["cat", "dog"]
    assert read("hdf5", root, holdout="1/2").classes == ("cat", "dog")


def test_hdf5_of_several_choices_asks(tmp_path: Path) -> None:
    images, labels = arrays("train")
    both = {"train__images": images, "train__labels": labels, "val__images": images, "val__labels": labels}
    made = read("hdf5", written(tmp_path / "a.h5", **both, test__images=images, test__labels=labels))
    assert passed(made) == {"arrays that are not read": 2}
    odd = written(tmp_path / "b.h5", a_images=images, b_images=images, labels=labels)
    with pytest.raises(UsageError, match="a_images and b_images"):
        read("hdf5", odd, holdout="1/2")
    assert len(read("hdf5", tmp_path / "a.h5", test=("val",)).test.labels) == 6
    with pytest.raises(PoisonsetsError, match="Wanted: train/images"):
        read("hdf5", written(tmp_path / "c.h5", train__pictograms=images), holdout="1/2")


def test_g1_fewer_labels_than_images_are_damage(tmp_path: Path) -> None:
    images, labels = arrays("train")
    with pytest.raises(PoisonsetsError, match="4 images but 3 labels") as caught:
        read("hdf5", written(tmp_path / "a.h5", images=images[:4], labels=labels[:3]), holdout="1/2")
    assert caught.value.exit_code == 3


LAYOUTS = ("train/test", "train/val", "imagenet", "classes", "shards", "shard folders", "loose shards")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_ordinary_layout_is_refused(tmp_path: Path, layout: str) -> None:
    holdout = None
    if layout in ("train/test", "train/val", "imagenet"):
        folder(tmp_path, test="test" if layout == "train/test" else "val")
    if layout == "imagenet":
        put(tmp_path / "test" / "ILSVRC2012_test_00000001.JPEG", picture(0, "JPEG"))
    if layout == "classes":
        folder(tmp_path, train="all")
        tmp_path, holdout = tmp_path / "all", "1/3"
    if layout == "shards":
        webdataset(tmp_path)
    if layout == "shard folders":
        webdataset(tmp_path, "train/0.tar", "test/0.tar")
    if layout == "loose shards":
        tar(tmp_path / "flowers-0.tar", members("train"))
        holdout = "1/3"
    made = read("webdataset" if "shard" in layout else "folder", tmp_path, holdout=holdout)
    assert len(made.train.labels) + len(made.test.labels) == (6 if holdout else 10)
