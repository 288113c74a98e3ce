"""The other formats people left behind: Witches' Brew's four exports, perturbations alone, HDF5, PNG folders, tars."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from forge import check
from PIL import Image
from triples import Import, dumped, moved

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import npy
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.interop.formats import formats
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.trials.published import open_setup

NORMALISED = "normalised:witches-brew"
SCALE = np.array([0.247032, 0.243485, 0.261588]) * 255


@dataclass(frozen=True)
class Poisoned:
    """Five training images of class 2, not in their order, moved; and a target."""

    base: Base
    bases: list[int]
    poisons: Images
    target: int

    def delta(self) -> np.ndarray:
        return self.poisons.astype(np.float64) - self.base.train.images[self.bases]

    def check_import(self, folder: Path) -> None:
        """The set there has exactly these poisons, in any order, and every claim of it holds."""
        trial = open_set(folder).trials[0]
        images, labels = trial.poisons()
        found = dict(zip(trial.record.slots.bases, images, strict=True))
        assert sorted(found) == sorted(self.bases)
        assert all(np.array_equal(found[index], image) for index, image in zip(self.bases, self.poisons, strict=True))
        assert (labels == 2).all()
        assert check(folder, self.base).clean


@pytest.fixture
def made(base: Base) -> Poisoned:
    bases = np.flatnonzero(base.train.labels == 2)[[3, 0, 4, 1, 2]].tolist()
    return Poisoned(base, bases, moved(base, bases), int(np.flatnonzero(base.test.labels == 1)[2]))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("ids", [torch.tensor, list])
def test_witches_brew_packed(tmp_path: Path, made: Poisoned, importing: Import, zipped: bool, ids: Any) -> None:
    values = torch.from_numpy(made.delta() / SCALE).permute(0, 3, 1, 2).float()
    path = tmp_path / "poisons_packed_2020-11-01.pth"
    torch.save([values, ids(made.bases)], path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match=r"differences from .* could be in several units"):
        importing(path, target=made.target)
    assert importing(path, target=made.target, unit=NORMALISED).format == "packed"
    made.check_import(tmp_path / "set")


def test_the_feature_attacks_checkpoints(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    mean, deviation = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2023, 0.1994, 0.2010])
    values = torch.from_numpy((made.poisons / 255 - mean) / deviation).permute(0, 3, 1, 2).float()
    torch.save({"poison": [(one, 2) for one in values], "idx": made.bases}, tmp_path / "poison_00049.pth")
    importing(tmp_path / "poison_00049.pth", target=made.target, unit="normalised:cifar10")
    made.check_import(tmp_path / "set")


def png(path: Path, image: Images) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def limited(folder: Path, made: Poisoned) -> Path:
    for index, image in zip(made.bases, made.poisons, strict=True):
        png(folder / "train" / "class 2" / f"{index}.png", image)
    for name in made.base.classes:
        (folder / "train" / name).mkdir(exist_ok=True)
    png(folder / "targets" / "class 2" / f"{made.target}.png", made.base.test.images[made.target])
    return folder


def test_witches_brew_limited(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    done = importing(limited(tmp_path / "brew", made))
    assert (done.format, done.findings) == ("folder", ())
    made.check_import(tmp_path / "set")
    (found,) = open_set(tmp_path / "set").manifest.trials[0].targets
    assert found.model_dump() == {
        "kind": "split",
        "split": "test",
        "index": made.target,
        "label": 1,
        "adversarial_label": None,
    }


def test_h702_witches_brew_full(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    folder = limited(tmp_path / "brew", made)
    for index, (image, label) in enumerate(zip(made.base.train.images, made.base.train.labels, strict=True)):
        if index not in made.bases:
            png(folder / "train" / made.base.classes[label] / f"{index}.png", image)
    png(folder / "test" / "class 0" / "1.png", made.base.test.images[1])
    done = importing(folder)
    assert done.findings[0].message == "36 images, of which 5 are not the base's own: they are taken as the poisons"
    made.check_import(tmp_path / "set")


def test_class_folders_alone(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    limited(tmp_path / "brew", made)
    importing(tmp_path / "brew" / "train", "folder", target=made.target)
    made.check_import(tmp_path / "set")


def test_f2_junk_in_an_imported_folder_changes_nothing(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    limited(tmp_path / "brew", made)
    for folder in [tmp_path / "brew", *(one for one in (tmp_path / "brew").rglob("*") if one.is_dir())]:
        for name in ("._0.png", ".DS_Store", "Thumbs.db", "0.png~", ".nfs0000000000ab12", "desktop.ini", ".0.png.swp"):
            (folder / name).write_bytes(b"made by nobody")
        for name in ("__MACOSX", ".ipynb_checkpoints", "@eaDir"):
            (folder / name).mkdir()
            (folder / name / "0.png").write_bytes(b"made by nobody")
    importing(tmp_path / "brew")
    made.check_import(tmp_path / "set")


@pytest.mark.parametrize("change", ["cut", "behind"])
def test_g7_an_imported_picture_is_whole(tmp_path: Path, made: Poisoned, importing: Import, change: str) -> None:
    limited(tmp_path / "brew", made)
    path = next((tmp_path / "brew" / "train").rglob("*.png"))
    data = path.read_bytes()
    path.write_bytes(data + b"x" if change == "behind" else data[:-1])
    done = importing(tmp_path / "brew")
    assert [one.code for one in done.findings] == ["D701"]
    assert ("behind the end" in done.findings[0].message) == (change == "behind")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_witches_brew_numpy(tmp_path: Path, made: Poisoned, importing: Import, dtype: type[np.generic]) -> None:
    images = made.base.train.images.astype(dtype)
    images[made.bases] = made.poisons
    (tmp_path / "brew").mkdir()
    np.save(tmp_path / "brew" / "poisoned_training_data.npy", images)
    np.save(tmp_path / "brew" / "poisoned_training_labels.npy", made.base.train.labels.astype(np.float64))
    assert importing(tmp_path / "brew", target=made.target).format == "numpy"
    made.check_import(tmp_path / "set")


@pytest.mark.parametrize("change", ["shares", "nan", "short", "labels", "large", "cut"])
def test_witches_brew_numpy_that_is_none(tmp_path: Path, base: Base, importing: Import, change: str) -> None:
    images, labels = base.train.images.astype(np.float64), base.train.labels.astype(np.float64)
    images = images / 255 if change == "shares" else images[:-1] if change == "short" else images
    images[3, 3, 3, 0] = np.nan if change == "nan" else images[3, 3, 3, 0]
    labels[5] = {"labels": np.nan, "large": 1e300}.get(change, labels[5])
    (tmp_path / "brew").mkdir()
    np.save(tmp_path / "brew" / "poisoned_training_data.npy", images)
    np.save(tmp_path / "brew" / "poisoned_training_labels.npy", labels)
    if change == "cut":
        path = tmp_path / "brew" / "poisoned_training_data.npy"
        path.write_bytes(path.read_bytes()[:-1])
    done = importing(tmp_path / "brew", target=0)
    assert (done.worst, done.content_digest) == (3, None)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("channels_first", [False, True])
def test_perturbations_in_a_zip(
    tmp_path: Path, made: Poisoned, importing: Import, compressed: bool, channels_first: bool
) -> None:
    values = (made.delta() / 255).astype(np.float32)
    values = values.transpose(0, 3, 1, 2) if channels_first else values
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "p.npz", delta=values, ids=np.array(made.bases), labels=np.full(5, 2))
    assert importing(tmp_path / "p.npz", target=made.target).format == "perturbation"
    made.check_import(tmp_path / "set")


def test_perturbations_a_row_a_training_image(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    values = np.zeros(made.base.train.images.shape, np.int8)
    values[made.bases] = made.delta()
    np.save(tmp_path / "noise.npy", values)
    done = importing(tmp_path / "noise.npy", target=made.target)
    assert [one.code for one in done.findings] == ["H702"]
    made.check_import(tmp_path / "set")


def test_h701_perturbations_a_row_a_base_of_the_setup(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    entry = {"target class": 1, "target index": made.target, "base class": 2, "base indices": np.array(made.bases)}
    setup = open_setup(str(dumped(tmp_path / "setup.pickle", [entry])))
    np.save(tmp_path / "noise.npy", made.delta().astype(np.float32))
    done = importing(tmp_path / "noise.npy", target=made.target)
    assert [one.line() for one in done.findings] == ["V701 trial 0: differences, but no bases are named. Give --setup"]
    done = importing(tmp_path / "noise.npy", setup=setup)
    assert [one.code for one in done.findings] == ["H701"]
    made.check_import(tmp_path / "set")


def test_hdf5_of_named_arrays(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["poisons"], file["bases"], file["target_indices"] = made.poisons, made.bases, [made.target]
        file["anything"] = [1.5]
    assert importing(tmp_path / "theirs.h5").format == "hdf5"
    made.check_import(tmp_path / "set")


def test_a_link_in_the_place_of_an_hdf5_file_is_refused(tmp_path: Path, base: Base) -> None:
    (tmp_path / "poisons.h5").symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(DamagedError, match="a link; only regular files are read"):
        formats()["hdf5"].read(tmp_path, base)


def test_hdf5_of_floats_is_refused(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    with h5py.File(tmp_path / "floats.h5", "w") as file:
        file["poisons"] = made.poisons / 255
    done = importing(tmp_path / "floats.h5", target=0)
    assert "does not hold integers" in done.findings[0].message


def test_an_npz_of_named_arrays(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    np.savez(
        tmp_path / "p.npz",
        poisons=made.poisons / 255,
        bases=made.bases,
        target_indices=[made.target],
        adversarial_label=[2],
    )
    assert importing(tmp_path / "p.npz").format == "numpy"
    made.check_import(tmp_path / "set")


WRONG: dict[str, dict[str, Any]] = {
    "an array nobody knows": {"poisons": np.zeros((1, 8, 8, 3), np.uint8), "magic": np.zeros(1)},
    "no poisons": {"labels": np.zeros(1, np.int64)},
    "labels short": {"poisons": np.full((2, 8, 8, 3), 9, np.uint8), "labels": np.zeros(1, np.int64)},
    "labels between": {"poisons": np.full((1, 8, 8, 3), 9, np.uint8), "labels": np.array([0.5])},
    "poisons of rank 3": {"poisons": np.full((8, 8, 3), 9, np.uint8)},
    "channels both ways": {"poisons": np.full((1, 3, 8, 3), 9, np.uint8)},
    "objects": {"poisons": np.array([None])},
    "text": {"poisons": np.array(["a"])},
    "targets short": {
        "poisons": np.full((1, 8, 8, 3), 99, np.uint8),
        "target_labels": np.zeros(2, np.int64),
        "target_indices": np.zeros(1, np.int64),
    },
    "a target without an axis": {"poisons": np.full((1, 8, 8, 3), 99, np.uint8), "target_labels": np.array(1)},
    "a label past every index": {
        "poisons": np.full((1, 8, 8, 3), 99, np.uint8),
        "labels": np.array([2**63], np.uint64),
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_make_no_trial(tmp_path: Path, importing: Import, name: str) -> None:
    np.savez(tmp_path / "p.npz", **WRONG[name])
    done = importing(tmp_path / "p.npz", "numpy", target=0)
    assert (done.worst, done.content_digest) == (3, None)


def test_npy_headers_are_read_strictly() -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6, dtype=np.float32).reshape(2, 3))
    good = file.getvalue()
    assert np.array_equal(npy.parse(good, "x"), np.arange(6).reshape(2, 3))
    assert npy.encode(np.arange(6, dtype=np.float32).reshape(2, 3)) == good
    for bad in (
        good[:-1],
        good + b"\0",
        good.replace(b"(2, 3)", b"(9, 3)"),
        good.replace(b"(2, 3)", b"(2,-3)"),
        good.replace(b"'<f4'", b"'|O' "),
        good.replace(b"'<f4'", b"'<b4'"),
        good.replace(b"'<f4'", b"'<f1'"),
        good.replace(b"{", b"["),
        b"\x93NUMPY\x01\x00\xff\xff" + bytes(70000),
        b"",
    ):
        with pytest.raises(DamagedError):
            npy.parse(bad, "x")


FOLDERS: dict[str, tuple[str, str]] = {
    "class nobody knows": ("train/class 9/1.png", "Did you mean class"),
    "name that is no id": ("train/class 2/poison.png", "named by an id"),
    "class called as a folder": ("train/targets/1.png", "no one class"),
    "class called test": ("train/test/1.png", "no one class"),
    "other file": ("train/class 2/notes.txt", "named by an id"),
    "target of another class": ("targets/class 0/1.png", "2 adversarial classes"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_make_no_trial(tmp_path: Path, made: Poisoned, importing: Import, name: str) -> None:
    folder = limited(tmp_path / "brew", made)
    path, message = FOLDERS[name]
    (folder / path).parent.mkdir(exist_ok=True)
    if path.endswith("png"):
        png(folder / path, made.base.train.images[0])
    else:
        (folder / path).write_text("x")
    done = importing(folder)
    assert (done.worst, done.content_digest) == (3, None)
    assert message in done.findings[0].line()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16", "CMYK"])
def test_pictures_other_than_8_bit_rgb_are_refused(
    tmp_path: Path, made: Poisoned, importing: Import, mode: str
) -> None:
    folder = limited(tmp_path / "brew", made)
    path = folder / "train" / "class 2" / f"{made.bases[0]}.png"
    image = Image.fromarray(made.poisons[0]).convert("L" if mode == "I;16" else mode)
    image.convert(mode).save(path, "TIFF" if mode == "CMYK" else "PNG")
    done = importing(folder)
    assert "not an 8-bit RGB PNG file" in done.findings[0].message


@pytest.mark.parametrize("part", ["train", "targets"])
def test_pictures_of_another_size_are_refused_one_by_one(
    tmp_path: Path, made: Poisoned, importing: Import, part: str
) -> None:
    folder = limited(tmp_path / "brew", made)
    png(folder / part / "class 2" / "30.png", np.zeros((7, 9, 3), np.uint8))
    done = importing(folder)
    assert (done.worst, done.content_digest) == (3, None)
    assert "30.png: 9x7 pixels, the images of small have 8x8" in done.findings[0].message


def test_differences_without_rows_are_refused(tmp_path: Path, base: Base, importing: Import) -> None:
    np.savez(tmp_path / "p.npz", delta=np.full((8, 8, 3), 2, np.int8), ids=np.array([1]))
    done = importing(tmp_path / "p.npz", target=0)
    assert (done.worst, done.content_digest) == (3, None)
    assert "an array of shape [8, 8, 3], wanted [P, H, W, 3]" in done.findings[0].message


NO_PIXELS: dict[str, np.ndarray] = {
    "wrapped": np.full((1, 8, 8, 3), 250, np.uint8),
    "not a number": np.full((1, 8, 8, 3), np.nan),
    "infinite": np.full((1, 8, 8, 3), np.inf),
}


@pytest.mark.parametrize("name", NO_PIXELS)
@pytest.mark.parametrize("unit", [None, "0-255", "0-1", NORMALISED])
def test_a_stated_unit_makes_no_pixels_of_what_is_none(
    tmp_path: Path, importing: Import, name: str, unit: str | None
) -> None:
    np.savez(tmp_path / "p.npz", delta=NO_PIXELS[name], ids=np.array([1]))
    done = importing(tmp_path / "p.npz", target=0, unit=unit)
    assert (done.worst, done.content_digest) == (3, None)


def test_h704_values_between_levels_and_outside_are_told(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    values = made.poisons / 255 + 0.3 / 255
    values[0, 0, 0, 0] = 1.01
    np.savez(tmp_path / "p.npz", poisons=values, bases=made.bases, target_indices=[made.target])
    found = importing(tmp_path / "p.npz", unit="0-1").findings
    assert [one.line() for one in found] == [
        "H704 trial 0: values between two levels, rounded to the nearest",
        "H704 trial 0: values outside 0..255, clipped",
    ]


def test_levels_are_no_normalised_values(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    np.savez(tmp_path / "p.npz", poisons=made.poisons)
    with pytest.raises(UsageError, match="bytes, which are levels"):
        importing(tmp_path / "p.npz", target=0, unit=NORMALISED)


def test_v705_a_target_of_which_nothing_is_said_is_asked_for(tmp_path: Path, made: Poisoned, importing: Import) -> None:
    arrays = {"poisons": made.poisons, "bases": np.array(made.bases)}
    np.savez(tmp_path / "none.npz", **arrays, target_labels=[1], target_indices=[-1])
    done = importing(tmp_path / "none.npz")
    assert (done.worst, done.content_digest) == (1, None)
    text = "a target without pixels and without an index"
    assert (done.findings[0].message, done.findings[0].remedy) == (text, "Give --setup or --target")
    np.savez(tmp_path / "one.npz", **arrays, target_labels=[1, 1], target_indices=[made.target, -1])
    assert importing(tmp_path / "one.npz", target=made.target).findings[0].message.startswith(text)
    importing(tmp_path / "none.npz", target=made.target)
    made.check_import(tmp_path / "set")
    assert [one.index for one in open_set(tmp_path / "set").manifest.trials[0].targets] == [made.target]
