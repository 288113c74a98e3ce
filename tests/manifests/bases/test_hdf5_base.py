"""Bases in HDF5; files that point elsewhere or claim more than they hold are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files import hdf5

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 3


def made(path: Path, **options: object) -> Base:
    return build(parse_spec(f"hdf5:{path}", **options))  # type: ignore[arg-type]


def write(path: Path, splits: tuple[str, ...] = ("train", "test"), **options: object) -> Path:
    with h5py.File(path, "w") as file:
        for split in splits:
            file.create_dataset(f"{split}/images", data=IMAGES, **options)
            file.create_dataset(f"{split}/labels", data=LABELS, **options)
    return path


@pytest.mark.parametrize(
    "options", [{}, {"chunks": True}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}]
)
def test_plain_and_compressed_files_give_the_same_base(tmp_path: Path, options: dict[str, object]) -> None:
    base = made(write(tmp_path / "a.h5", **options))
    assert (base.train.images == IMAGES).all()
    assert base.test.labels.tolist() == LABELS.tolist()
    assert base.classes == ("0", "1", "2")
    assert base.name == "hdf5:a.h5"


@pytest.mark.parametrize("dtype", ["u1", ">i2", "<i4", "u8"])
def test_labels_of_any_integer_type(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["train/labels"]
        file["train/labels"] = LABELS.astype(dtype)
        file.attrs["classes"] = json.dumps(["a", "b", "c"])
    base = made(path)
    assert base.train.labels.dtype == np.int64
    assert base.train.labels.tolist() == LABELS.tolist()
    assert base.classes == ("a", "b", "c")


def test_a_file_without_test_split_needs_a_holdout(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", ("train",))
    with pytest.raises(UsageError, match="holdout=1/20"):
        made(path)
    assert len(made(path, holdout="1/4").test.labels) == 5
    assert made(path, holdout="1/4", resize=5).train.side == (5, 5)


def _replace(path: Path, name: str, make: Callable[[h5py.File, str], object]) -> None:
    write(path)
    with h5py.File(path, "a") as file:
        del file[name]
        make(file, name)


def _virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout(shape=IMAGES.shape, dtype="u1")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "images", shape=IMAGES.shape)
    file.create_virtual_dataset(name, layout)


def _external(file: h5py.File, name: str) -> None:
    file.create_dataset(name, IMAGES.shape, "u1", external=[("/etc/passwd", 0, IMAGES.size)])


def _link(link: object) -> Callable[[h5py.File, str], object]:
    return lambda file, name: file.__setitem__(name, link)


def _dataset(**options: object) -> Callable[[h5py.File, str], object]:
    return lambda file, name: file.create_dataset(name, **options)


HOSTILE_IMAGES: dict[str, tuple[Callable[[h5py.File, str], object], str]] = {
    "virtual": (_virtual, "virtual"),
    "external storage": (_external, "another file"),
    "external link": (_link(h5py.ExternalLink("other.h5", "/x")), "link"),
    "soft link": (_link(h5py.SoftLink("/test/images")), "link"),
    "dangling soft link": (_link(h5py.SoftLink("/nothing")), "link"),
    "group": (lambda file, name: file.create_group(name), "cannot be read"),
    "missing": (lambda _file, _name: None, "no images with labels"),
    "lzf": (_dataset(data=IMAGES, compression="lzf"), "filter"),
    "fletcher32": (_dataset(data=IMAGES, fletcher32=True), "filter"),
    "scale offset": (_dataset(data=IMAGES, scaleoffset=0), "filter"),
    "float": (_dataset(data=IMAGES.astype("f4")), "integers"),
    "wider": (_dataset(data=IMAGES.astype("u2")), "uint8"),
    "vlen": (_dataset(shape=(20,), dtype=h5py.vlen_dtype("u1")), "integers"),
    "references": (_dataset(shape=(20,), dtype=h5py.ref_dtype), "integers"),
    "strings": (_dataset(data=["a", "b"], dtype=h5py.string_dtype()), "integers"),
    "rank": (_dataset(data=IMAGES[0, 0]), "dimensions"),
    "channels": (_dataset(data=IMAGES[..., :2]), "uint8"),
    "null space": (_dataset(data=h5py.Empty("u1")), "cannot be read"),
    "claimed": (_dataset(shape=(1 << 20, 64, 64, 3), dtype="u1", chunks=(1, 64, 64, 3)), "claims"),
    "unwritten": (_dataset(shape=(1000, 64, 64, 3), dtype="u1"), "does not hold"),
    "unwritten chunks": (_dataset(shape=(1000, 64, 64, 3), dtype="u1", chunks=(1, 64, 64, 3)), "does not hold"),
    "large chunks": (_dataset(shape=(100, 1024, 1024, 3), dtype="u1", chunks=(100, 1024, 1024, 3)), "chunks"),
    "empty": (_dataset(shape=(0, 4, 4, 3), dtype="u1"), "0 images but 20 labels"),
    "too many": (_dataset(data=np.concatenate([IMAGES, IMAGES])), "labels"),
    "too wide": (_dataset(data=np.zeros((20, 1, 1025, 3), "u1")), "1025"),
}


@pytest.mark.parametrize("name", HOSTILE_IMAGES)
def test_hostile_images_are_refused(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE_IMAGES[name]
    _replace(tmp_path / "a.h5", "train/images", make)
    with pytest.raises(DamagedError, match=reason):
        made(tmp_path / "a.h5")


@pytest.mark.parametrize("resize", [None, 8])
def test_images_without_pixels_are_refused(tmp_path: Path, resize: int | None) -> None:
    _replace(tmp_path / "a.h5", "train/images", _dataset(shape=(20, 0, 6, 3), dtype="u1"))
    with pytest.raises(DamagedError, match="6x0 pixels"):
        made(tmp_path / "a.h5", resize=resize)


def test_a_linked_group_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "other.h5")
    for link in (h5py.SoftLink("/test"), h5py.ExternalLink(str(tmp_path / "other.h5"), "/train")):
        _replace(tmp_path / "a.h5", "train", _link(link))
        with pytest.raises(DamagedError, match="link"):
            made(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "labels", [LABELS - 1, LABELS + 100_000, LABELS.astype("u8") + 2**63, LABELS[:-1], LABELS[None]]
)
def test_hostile_labels_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    _replace(tmp_path / "a.h5", "train/labels", _dataset(data=labels))
    with pytest.raises(DamagedError, match="label"):
        made(tmp_path / "a.h5")


@pytest.mark.parametrize("classes", ['{"a": 1}', "[1]", "[", "[" * 60_000, 5, ["a", "b"], b"\xff"])
def test_class_names_must_be_one_json_list_of_names(tmp_path: Path, classes: object) -> None:
    with h5py.File(write(tmp_path / "a.h5"), "a") as file:
        file.attrs["classes"] = classes
    with pytest.raises(DamagedError, match="classes"):
        made(tmp_path / "a.h5")


def test_other_files_are_refused_or_missing(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not hdf5")
    with pytest.raises(DamagedError, match="not a readable HDF5 file"):
        made(tmp_path / "text.h5")
    with pytest.raises(DamagedError, match="not a regular file"):
        made(tmp_path)
    with pytest.raises(MissingError), hdf5.opened(tmp_path / "nowhere.h5"):
        pass


def test_flipped_and_cut_files_end_in_one_of_our_errors(tmp_path: Path) -> None:
    good = write(tmp_path / "a.h5", compression="gzip").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for i in range(250):
        data = bytearray(good)
        if i % 5:
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        else:
            del data[int(rng.integers(len(data))) :]
        (tmp_path / "b.h5").write_bytes(data)
        try:
            made(tmp_path / "b.h5")
            outcomes.add("read")
        except PoisonsetsError as error:
            outcomes.add(type(error).__name__)
    assert outcomes <= {"read", "DamagedError", "UsageError"}
    assert "DamagedError" in outcomes
