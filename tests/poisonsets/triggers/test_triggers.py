"""Triggers by name: pixels against hand computations on 32, 64 and 224 pixels, refusals, what is recorded."""

from __future__ import annotations

import inspect
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import png
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger, footprint, place, stamp
from poisonsets.manifests.records.triggers import BlendTrigger, FixedPlace, PatchTrigger, RandomPlace, SineTrigger
from poisonsets.triggers import kinds, resolve
from poisonsets.triggers.pictures import resize

IDS = [f"train/{i}" for i in range(40)]


def base_of(side: int, images: int = 12) -> Base:
    rng = np.random.default_rng(side)

    def split(count: int) -> Split:
        # Between 40 and 215, so that black and white are colours no image has.
        return Split(rng.integers(40, 216, (count, side, side, 3), dtype=np.uint8), np.arange(count) % 3)

    return Base("random", ("a", "b", "c"), split(images), split(6), (0, 1, 2), (0, 1, 2), mirror=False)


BASES = {side: base_of(side) for side in (32, 64)}


def made(spec: str, side: int = 32, seed: int = 0) -> Trigger:
    return resolve(spec, BASES[side], seed=seed)[0]


def on_first(trigger: Trigger, side: int = 32, name: str = "train/0") -> tuple[Images, Images]:
    image = BASES[side].train.images[0]
    return image, stamp(image, trigger, name)


def picture(folder: Path, values: Images, name: str = "picture.png") -> Path:
    path = folder / name
    path.write_bytes(png.encode(values))
    return path


ALL = ("patch", "square", "random-square", "sine", "low-variance", "image")


def test_every_kind_is_found() -> None:
    assert tuple(kinds()) == tuple(sorted(ALL))


@pytest.mark.parametrize("name", ALL)
def test_every_kind_is_documented(name: str) -> None:
    factory = kinds()[name].factory
    doc = inspect.getdoc(factory) or ""
    _, _, section = doc.partition("\nArgs:\n")
    assert re.findall(r"^    (\w+): \S", section, re.MULTILINE) == list(inspect.signature(factory).parameters)
    assert re.search(r"[A-Z]\w+ et al\. \([0-9]{4}\)", doc)
    assert "What differs" in doc
    assert 20 < len(kinds()[name].summary) < 100


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", [name for name in ALL if name != "image"])
def test_a_resolved_spec_is_complete_and_gives_the_same_trigger(name: str, side: int) -> None:
    trigger, spec = resolve(name, BASES[side], seed=5)
    options = dict(option.split("=") for option in spec.split(",")[1:])
    assert list(options) == list(inspect.signature(kinds()[name].factory).parameters)
    again, same = resolve(spec, BASES[side], seed=5)
    assert same == spec
    assert again.record == trigger.record
    assert list(again.pictures()) == list(trigger.pictures())
    assert all(np.array_equal(again.pictures()[path], one) for path, one in trigger.pictures().items())
    image, done = on_first(trigger, side)
    assert not np.array_equal(image, done)
    outside = ~footprint(trigger, side, side, "train/0")
    assert np.array_equal(image[outside], done[outside])


@pytest.mark.parametrize(("side", "size"), [(32, 5), (64, 8)])
def test_a_patch_lies_in_the_corner(side: int, size: int) -> None:
    trigger = made("patch", side)
    assert isinstance(trigger.record, PatchTrigger)
    assert trigger.image is not None
    image, done = on_first(trigger, side)
    expected = image.copy()
    expected[side - size :, side - size :] = trigger.image
    assert trigger.image.shape == (size, size, 3)
    assert np.array_equal(done, expected)


def test_a_patch_of_the_published_hidden_trigger_is_five_pixels_from_the_corner() -> None:
    assert made("patch,margin=5").record.place == FixedPlace(row=22, column=22)
    assert made("patch,margin=5", 64).record.place == FixedPlace(row=51, column=51)


def test_a_patch_elsewhere_and_mixed_in() -> None:
    trigger = made("patch,size=3,place=4:7,alpha=0.25", seed=2)
    assert isinstance(trigger.record, BlendTrigger)
    assert trigger.image is not None
    image, done = on_first(trigger)
    region = image[4:7, 7:10].astype(int)
    mixed = np.floor(0.75 * region + 0.25 * trigger.image + 0.5)
    assert np.array_equal(done[4:7, 7:10], mixed)
    assert (image != done).any(2).sum() <= 9


def test_colours_depend_on_the_seed_alone() -> None:
    one, same, other = (made("patch", seed=seed).image for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("spec", ["patch,place=random", "random-square", "random-square,alpha=0.5"])
def test_random_places_differ_between_images_and_come_again(spec: str) -> None:
    trigger = made(spec, seed=3)
    assert isinstance(trigger.record.place, RandomPlace)
    found = [place(trigger, 32, 32, name) for name in IDS]
    assert len(set(found)) > len(IDS) / 2
    assert found == [place(made(spec, seed=3), 32, 32, name) for name in IDS]
    assert found != [place(made(spec, seed=4), 32, 32, name) for name in IDS]


def test_a_picture_and_its_mask_are_resized(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    white = np.zeros((4, 4, 3), dtype=np.uint8)
    white[:, :2] = 255
    file, mask = picture(tmp_path, colours), picture(tmp_path, white, "mask.png")
    trigger, spec = resolve(f"patch,size=4,file={file},mask={mask}", BASES[32], seed=0)
    image, done = on_first(trigger)
    assert trigger.image is not None
    assert np.array_equal(done[28:, 28:30], trigger.image[:, :2])
    assert np.array_equal(done[28:, 30:], image[28:, 30:])
    assert str(tmp_path) not in spec
    assert re.search(r"file=picture\.png@sha256:[0-9a-f]{64},mask=mask\.png@sha256:[0-9a-f]{64},", spec)
    assert list(trigger.pictures()) == ["triggers/trigger.png", "triggers/mask.png"]


@pytest.mark.parametrize("side", [4, 8])
def test_f6_the_alpha_of_a_picture_is_its_mask(tmp_path: Path, side: int) -> None:
    colours = np.zeros((8, 8, 4), dtype=np.uint8)
    colours[:, :4] = (200, 100, 50, 255)  # the rest is black, and transparent
    path = tmp_path / "half.png"
    Image.fromarray(colours).save(path)
    image, done = on_first(made(f"patch,size={side},file={path}"))
    left = done[32 - side :, 32 - side : 32 - side // 2]
    assert (left == (200, 100, 50)).all()
    right = np.s_[32 - side :, 32 - side // 2 :]
    assert np.array_equal(done[right], image[right])
    with pytest.raises(UsageError, match=r"transparent pixels.*--trigger patch"):
        resolve(f"image,file={path}", BASES[32], seed=0)
    with pytest.raises(UsageError, match="has a mask already"):
        resolve(f"patch,file={path},mask={path}", BASES[32], seed=0)
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(path)
    with pytest.raises(UsageError, match="transparent all over"):
        resolve(f"patch,file={path}", BASES[32], seed=0)


def test_g7_a_picture_of_a_trigger_is_whole(tmp_path: Path) -> None:
    path = picture(tmp_path, np.zeros((8, 8, 3), dtype=np.uint8))
    whole = path.read_bytes()
    for data in (whole + b"x", whole[:-1], whole + whole):
        path.write_bytes(data)
        with pytest.raises(DamagedError):
            resolve(f"patch,file={path}", BASES[32], seed=0)


@pytest.mark.parametrize("size", [(5, 5), (8, 8), (100, 30)])
def test_resizing_is_that_of_pillow(size: tuple[int, int]) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    height, width = size
    theirs = np.asarray(Image.fromarray(colours).resize((width, height), Image.Resampling.BILINEAR))
    assert np.abs(resize(colours, height, width).astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(("side", "square"), [(32, 3), (64, 6)])
def test_a_black_square_is_black(side: int, square: int) -> None:
    image, done = on_first(made("square", side), side)
    expected = image.copy()
    expected[square : 2 * square, square : 2 * square] = 0
    assert np.array_equal(done, expected)


def test_a_square_of_any_colour() -> None:
    _, done = on_first(made("square,colour=00FF7f"))
    assert np.array_equal(np.unique(done[3:6, 3:6].reshape(-1, 3), axis=0), [[0, 255, 127]])


def test_the_published_square() -> None:
    """22x22 pixels at 22, 22: literally where it fits, and so on 224 pixels in every geometry."""
    _, done = on_first(made("square,geometry=literal", 64), 64)
    black = (done == 0).all(2)
    assert black[22:44, 22:44].all()
    assert black.sum() == 22 * 22
    large = base_of(224, 1)
    triggers = [resolve(f"square,geometry={name}", large, seed=0)[0] for name in ("relative", "literal", "at224")]
    stamped = [stamp(large.train.images[0], trigger, "train/0") for trigger in triggers]
    assert np.array_equal(stamped[0], stamped[1])
    assert np.array_equal(stamped[0], stamped[2])
    assert ((stamped[0] == 0).all(2)).sum() == 22 * 22


@pytest.mark.parametrize(
    ("spec", "cycles"), [("sine", 5.6), ("sine,geometry=literal", 0.8), ("sine,amplitude=1,alpha=0.5", 5.6)]
)
def test_a_sine_is_its_formula(spec: str, cycles: float) -> None:
    trigger = made(spec)
    assert isinstance(trigger.record, SineTrigger)
    amplitude, alpha = (1.0, 0.5) if "alpha" in spec else (0.4, 0.1)
    stripes = 255 * amplitude * np.array([math.sin(2 * math.pi * cycles * j / 32) for j in range(32)])
    image, done = on_first(trigger)
    expected = np.clip((1 - alpha) * image + alpha * stripes[None, :, None], 0, 255)
    assert np.abs(done - expected).max() <= 0.5 + alpha * 0.5 + 1e-9


def test_a_sine_has_the_published_period_on_224_pixels() -> None:
    large = base_of(224, 1)
    for geometry in ("relative", "literal", "at224"):
        record = resolve(f"sine,geometry={geometry}", large, seed=0)[0].record
        assert isinstance(record, SineTrigger)
        assert record.frequency == "5.6"


def test_an_image_is_mixed_in(tmp_path: Path) -> None:
    over = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    trigger, spec = resolve(f"image,file={picture(tmp_path, over)},alpha=0.2", BASES[32], seed=0)
    image, done = on_first(trigger)
    assert np.array_equal(done, (8 * image.astype(int) + 2 * over.astype(int) + 5) // 10)
    assert spec.startswith("image,file=picture.png@sha256:")
    assert spec.endswith(",alpha=0.2")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pach", "Did you mean patch"),
        ("xyz", "Known: image"),
        ("patch,sise=3", "Did you mean size"),
        ("patch,size", "key=value"),
        ("patch,size=3,size=4", "twice"),
        ("patch,size=three", "whole number"),
        ("patch,alpha=1.5", "outside 0 to 1"),
        ("patch,alpha=0.1234567", "six decimals"),
        ("patch,size=33", "on images of 32x32"),
        ("patch,margin=28", "leaves the 32x32 image"),
        ("patch,size=5,place=30:0", "leaves the 32x32 image.*elsewhere"),
        ("patch,place=middle", "bottom-right, ROW:COLUMN or random"),
        ("square,colour=mauve", "RRGGBB"),
        ("square,geometry=literal", "needs images of 44.*relative.*--resize 224"),
        ("square,geometry=at224", "wants images of 224x224.*--resize 224"),
        ("random-square,geometry=at224", "wants images of 224x224.*--resize 224"),
        ("sine,geometry=at224", "wants images of 224x224.*--resize 224"),
        ("low-variance,index=6", "has 6 test images"),
        ("image", "no picture"),
    ],
)
def test_refusals_say_what_to_do(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(spec, BASES[32], seed=0)


def test_files_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(jpeg, "JPEG")
    (tmp_path / "jpeg.png").write_bytes(jpeg.getvalue())
    with pytest.raises(DamagedError, match="not a PNG"):
        resolve(f"image,file={tmp_path / 'jpeg.png'}", BASES[32], seed=0)
    with pytest.raises(MissingError):
        resolve(f"image,file={tmp_path / 'none.png'}", BASES[32], seed=0)
    black = picture(tmp_path, np.zeros((5, 5, 3), dtype=np.uint8))
    with pytest.raises(UsageError, match="covers no pixel"):
        resolve(f"patch,mask={black}", BASES[32], seed=0)
    white = picture(tmp_path, np.full((5, 5, 3), 255, dtype=np.uint8))
    with pytest.raises(UsageError, match="Drop one of the two"):
        resolve(f"patch,mask={white},alpha=0.5", BASES[32], seed=0)
