"""Bases of image files in folders: order, sizes, splits and refusals."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files.images import TRANSPARENT, decode, decode_own

Picture = Callable[..., bytes]


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def made(folder: Path, **options: object) -> Base:
    return build(parse_spec(f"folder:{folder}", **options))  # type: ignore[arg-type]


def test_classes_and_files_come_in_string_order(tmp_path: Path, picture: Picture) -> None:
    names = ["train/b/10.png", "train/b/2.png", "train/B/1.JPG", "test/B/0.png", "test/b/0.jpeg"]
    fill(tmp_path, {name: picture(i, kind="JPEG" if "j" in name.lower() else "PNG") for i, name in enumerate(names)})
    fill(tmp_path, {"train/b/notes.txt": b"passed over", "train/.hidden/x.png": b"passed over"})
    base = made(tmp_path)
    assert base.classes == ("B", "b")
    assert base.train.labels.tolist() == [0, 1, 1]
    assert (base.train.images[1] == decode(picture(0), "", None)).all()
    assert base.test.labels.tolist() == [0, 1]
    assert base.name == f"folder:{tmp_path.name}"


def test_val_serves_as_test_and_bare_classes_need_a_holdout(tmp_path: Path, picture: Picture) -> None:
    files = {f"{c}/{i}.png": picture(10 * i + ord(c)) for c in "xy" for i in range(6)}
    fill(tmp_path / "one", {f"{part}/{name}": data for part in ("train", "val") for name, data in files.items()})
    fill(tmp_path / "two", files)
    with_val = made(tmp_path / "one")
    assert with_val.train.digest == with_val.test.digest
    with pytest.raises(UsageError, match=r"no test split.*holdout=1/20"):
        made(tmp_path / "two")
    with pytest.raises(UsageError, match="its own test split"):
        made(tmp_path / "one", holdout="1/4")
    drawn = made(tmp_path / "two", holdout="1/4")
    assert (len(drawn.train.labels), len(drawn.test.labels)) == (9, 3)
    whole = sorted(image.tobytes() for image in with_val.train.images)
    assert sorted(image.tobytes() for s in (drawn.train, drawn.test) for image in s.images) == whole


def test_the_holdout_is_a_function_of_its_seed(tmp_path: Path, picture: Picture) -> None:
    fill(tmp_path, {f"{c}/{i}.png": picture(10 * i + ord(c)) for c in "xy" for i in range(10)})
    digests = [made(tmp_path, holdout="1/5", split_seed=seed).test.digest for seed in (0, 0, 1, 2)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert len(made(tmp_path, holdout="1/1000").test.labels) == 1
    assert made(tmp_path, holdout="2/10").test.digest == digests[0]


def test_sizes_must_agree_or_be_asked_to(tmp_path: Path, picture: Picture) -> None:
    fill(tmp_path, {"a/1.png": picture(1), "a/2.png": picture(2), "b/3.png": picture(3, side=5)})
    with pytest.raises(UsageError, match=r"a/1\.png and .*b/3\.png differ in size: 4x4 and 5x5"):
        made(tmp_path, holdout="1/3")
    base = made(tmp_path, holdout="1/3", resize=6)
    assert base.train.side == base.test.side == (6, 6)
    images = np.concatenate([base.train.images, base.test.images])
    with Image.open(io.BytesIO(picture(3, side=5))) as file:
        wanted = np.asarray(file.resize((6, 6), Image.Resampling.BICUBIC))
    assert any((image == wanted).all() for image in images)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA"])
def test_other_modes_become_rgb(picture: Picture, mode: str) -> None:
    with Image.open(io.BytesIO(picture(1, mode=mode))) as file:
        wanted = np.asarray(file.convert("RGB"))
    assert (decode(picture(1, mode=mode), "x", None) == wanted).all()


def test_palettes_with_transparency_are_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "PNG", transparency=b"\0\x80")
    pixels, size, odd = decode_own(file.getvalue(), "x", None)
    assert (pixels.shape, size, odd) == ((4, 4, 3), (4, 4), (TRANSPARENT,))
    with pytest.raises(DamagedError, match="transparent"):
        decode(file.getvalue(), "x", None)


def test_images_that_are_not_plain_png_or_jpeg_are_named_and_refused(tmp_path: Path, picture: Picture) -> None:
    deep = io.BytesIO()
    Image.new("I;16", (4, 4)).save(deep, "PNG")
    wide = io.BytesIO()
    Image.new("L", (1025, 1)).save(wide, "PNG")
    huge = io.BytesIO()
    Image.new("1", (12000, 12000)).save(huge, "PNG")
    bad = {
        "cut": picture(1, side=40)[:-60],
        "empty": b"",
        "text": b"no image at all",
        "gif": picture(1, kind="GIF"),
        "tiff": picture(1, kind="TIFF"),
        "deep": deep.getvalue(),
        "wide": wide.getvalue(),
        "huge": huge.getvalue(),
    }
    for name, data in bad.items():
        with pytest.raises(DamagedError, match=rf"^{name}: "):
            decode(data, name, None)
    with pytest.raises(DamagedError, match=r"^huge: "):
        decode(bad["huge"], "huge", 32)
    assert decode(bad["wide"], "wide", 8).shape == (8, 8, 3)


def test_flipped_bytes_never_end_in_anything_but_a_refusal(picture: Picture) -> None:
    rng = np.random.default_rng(0)
    outcomes = set()
    for kind in ("PNG", "JPEG"):
        good = picture(1, side=12, kind=kind)
        for _ in range(400):
            data = bytearray(good)
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            try:
                outcomes.add(decode(bytes(data), "x", None).dtype.name)
            except PoisonsetsError as error:
                outcomes.add(type(error).__name__)
    assert outcomes == {"uint8", "DamagedError"}


def test_what_is_missing_is_said(tmp_path: Path, picture: Picture) -> None:
    with pytest.raises(MissingError, match="no such file or folder"):
        made(tmp_path / "nowhere")
    fill(tmp_path, {"train/a/1.png": picture(1), "train/b/1.png": picture(2), "test/c/1.png": picture(3)})
    with pytest.raises(DamagedError, match="class c is not among the classes"):
        made(tmp_path)
    fill(tmp_path / "single", {"a/1.png": picture(1), "a/2.png": picture(2)})
    with pytest.raises(DamagedError, match="1 classes"):
        made(tmp_path / "single", holdout="1/2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="no image found"):
        made(tmp_path / "empty", holdout="1/2")


class TestTinyImageNet:
    """The official layout, with enough classes for a second half."""

    @pytest.fixture
    def source(self, tmp_path: Path, picture: Picture) -> Path:
        wnids = [f"n{i:08d}" for i in range(103)]
        lines = []
        for i, wnid in enumerate(wnids):
            count = 12 if i == 101 else 1
            fill(tmp_path / "train" / wnid / "images", {
                f"{wnid}_{k}.JPEG": picture(100 * i + k, kind="JPEG") for k in range(count)
            })  # fmt: skip
        for k in range(12):
            fill(tmp_path / "val" / "images", {f"val_{k}.JPEG": picture(k, kind="JPEG")})
            lines.append(f"val_{k}.JPEG\t{wnids[(101 + k) % 103]}\t0\t0\t3\t3\n")
        (tmp_path / "val" / "val_annotations.txt").write_text("".join(lines))
        (tmp_path / "wnids.txt").write_text("\n".join(reversed(wnids)))
        return tmp_path

    def read(self, name: str, source: Path) -> Base:
        return build(parse_spec(f"{name}:{source}"))

    def test_files_are_sorted_as_strings(self, source: Path, picture: Picture) -> None:
        base = self.read("tinyimagenet", source)
        mine = base.train.images[base.train.labels == 101]
        for row, k in enumerate([0, 1, 10, 11, 2, 3]):
            assert (mine[row] == decode(picture(10100 + k, kind="JPEG"), "", None)).all()
        # val_0, val_1, val_10, val_11, val_2, ...
        assert base.test.labels.tolist() == [(101 + k) % 103 for k in (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)]

    def test_the_halves_are_parts_of_the_whole_in_its_order(self, source: Path) -> None:
        whole, first, second = (
            self.read(name, source) for name in ("tinyimagenet", "tinyimagenet-first", "tinyimagenet-second")
        )
        for split in ("train", "test"):
            labels, images = whole.split(split).labels, whole.split(split).images
            assert (first.split(split).images == images[labels < 100]).all()
            assert (second.split(split).images == images[labels >= 100]).all()
            assert (second.split(split).labels == labels[labels >= 100] - 100).all()
        assert first.classes + second.classes == whole.classes

    def test_a_lost_class_folder_is_noticed(self, source: Path) -> None:
        (source / "train" / "n00000007").rename(source / "n00000007")
        with pytest.raises(DamagedError, match=r"wnids\.txt"):
            self.read("tinyimagenet", source)

    def test_an_image_without_annotation_is_noticed(self, source: Path, picture: Picture) -> None:
        fill(source / "val" / "images", {"val_99.JPEG": picture(1, kind="JPEG")})
        with pytest.raises(DamagedError, match="val_99"):
            self.read("tinyimagenet", source)

    def test_another_layout_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MissingError, match="train/"):
            self.read("tinyimagenet", tmp_path)
