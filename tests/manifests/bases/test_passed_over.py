"""What lies in a source and is no image of a class: counted, or refused by name, never lost in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from sources import SOURCES, folder, members, passed, picture, pixels, put, read, tar, webdataset

from poisonsets.manifests.bases.inventory import EXAMPLES
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UnsupportedError
from poisonsets.manifests.files.images import OTHER_SUFFIXES, OWN_SUFFIXES
from poisonsets.manifests.files.junk import NAMES, is_junk

# Members of each pattern, beside the names that are listed.
MADE_BY_NOBODY = (
    *(name for name in NAMES if "\r" not in name and ":" not in name),
    *("._0.png", "._cat", "._train", "._train-0.tar", ".nfs00000000a1b2c3", ".fuse_hidden0000000100000001"),
    *(".Trash-1000", "0.png@SynoEAStream", "SYNOFILE_THUMB_M.png", "0.png:Zone.Identifier", "~$notes.docx"),
    *("0.png~", "#0.png#", ".#0.png", ".0.png.swp", ".0.png.swo", "0.png.kate-swp", ".~lock.a.csv#"),
    *(".syncthing.0.png.tmp", ".goutputstream-ABC123", "THUMBS.DB", ".ds_store"),
)
FOLDERS = (
    "__MACOSX",
    ".ipynb_checkpoints",
    "@eaDir",
    ".Trash-1000",
    "__pycache__",
    ".git",
    "$RECYCLE.BIN",
    "lost+found",
)


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind != "hdf5"])
def test_f2_junk_anywhere_changes_no_base(tmp_path: Path, kind: str) -> None:
    wanted = read(kind, SOURCES[kind](tmp_path / "plain"))
    source = SOURCES[kind](tmp_path / "made")
    places = [source, *(path for path in source.rglob("*") if path.is_dir())]
    for place in places:
        for name in MADE_BY_NOBODY:
            if name in FOLDERS or name == ".nfs":
                put(place / name / "0.png", b"not an image")
            else:
                put(place / name, b"not an image")
    made = read(kind, source)
    assert [made.train.digest, made.test.digest] == [wanted.train.digest, wanted.test.digest]
    assert made.classes == wanted.classes
    assert set(passed(made)) <= {"files or folders that nobody made"}


@pytest.mark.parametrize("name", MADE_BY_NOBODY)
def test_f2_junk_in_a_shard_changes_no_base(tmp_path: Path, name: str) -> None:
    wanted = read("webdataset", webdataset(tmp_path / "plain"))
    found = members("train")
    more = {f"__MACOSX/{name}": b"x", name: b"not an image", **found, f"{name}/0.png": b"x", f"a/{name}": b"x"}
    tar(webdataset(tmp_path / "made") / "train-0.tar", more)
    made = read("webdataset", tmp_path / "made")
    assert made.train.digest == wanted.train.digest
    reserved = name.startswith("__") and name.endswith("__")  # WebDataset's own, at the root of a shard
    assert passed(made) == {"members that nobody made": 2 if reserved else 4}


def test_names_of_users_are_no_junk() -> None:
    names = ("0.png", "cat", "train", "a~b.png", "nfs", "thumbs", "_cat", "git", "cache", "#1", "icon", "4913", "cvs")
    assert not any(map(is_junk, names))


@pytest.mark.parametrize("inside", [None, "__MACOSX/._x", "notes.txt", "deeper/0.png"])
def test_f1_a_class_without_an_image_is_refused_by_name(tmp_path: Path, inside: str | None) -> None:
    folder(tmp_path)
    (tmp_path / "train" / "bird").mkdir()
    if inside is not None:
        put(tmp_path / "train" / "bird" / inside, picture(1))
    with pytest.raises(DamagedError, match="1 class folders without an image: bird"):
        read("folder", tmp_path)


def test_f1_a_class_of_webp_alone_is_a_class(tmp_path: Path) -> None:
    folder(tmp_path)
    put(tmp_path / "train" / "bird" / "0.webp", picture(1, "WEBP", lossless=True))
    made = read("folder", tmp_path)
    assert made.classes == ("bird", "cat", "dog")
    assert (made.train.images[0] == pixels(1)).all()


def test_many_classes_without_images_are_counted(tmp_path: Path) -> None:
    folder(tmp_path)
    for number in range(12):
        (tmp_path / "train" / f"empty{number:02d}").mkdir()
    with pytest.raises(DamagedError, match=r"12 class folders without an image: empty00, .*empty09, and 2 more"):
        read("folder", tmp_path)


def test_a_dataset_that_begins_one_folder_deeper_is_named(tmp_path: Path) -> None:
    folder(tmp_path / "flowers")
    with pytest.raises(DamagedError, match=r"flowers \(10 in folders below it\).*such as .*/flowers"):
        read("folder", tmp_path, holdout="1/2")


@pytest.mark.parametrize("suffix", OTHER_SUFFIXES)
@pytest.mark.parametrize("many", [1, 12])
def test_f4_images_that_are_not_read_are_refused_with_the_line_that_converts_them(
    tmp_path: Path, suffix: str, many: int
) -> None:
    folder(tmp_path)
    for number in range(many):
        put(tmp_path / "train" / "cat" / f"x{number:02d}{suffix.upper()}", b"GIF89a")
    with pytest.raises(UnsupportedError, match=rf"^{many} images .*x00{suffix.upper()}") as caught:
        read("folder", tmp_path)
    assert f"rglob('*{suffix.upper()}')" in caught.value.remedy.replace("'\"'\"'", "'")
    assert ("and 2 more" in caught.value.message) == (many == 12)
    for number in range(many):  # what that line does
        put(tmp_path / "train" / "cat" / f"x{number:02d}.png", picture(number))
    assert passed(read("folder", tmp_path)) == {"images that lie beside a converted one": many}


@pytest.mark.parametrize("suffix", OWN_SUFFIXES)
def test_f4_what_is_read_is_read_by_its_content(tmp_path: Path, suffix: str) -> None:
    folder(tmp_path)
    put(tmp_path / "train" / "cat" / f"x{suffix}", picture(5, "BMP"))
    assert (read("folder", tmp_path).train.images[3] == pixels(5)).all()


def test_f4_everything_else_is_counted(tmp_path: Path) -> None:
    folder(tmp_path)
    for name in ("train/cat/notes.txt", "train/cat/more/1.png", "train/9.png", "extra/9.png", "train/dog/.hidden.png"):
        put(tmp_path / name, picture(1))
    made = read("folder", tmp_path)
    assert passed(made) == {
        "images beside the splits": 1,
        "images in no class folder": 1,
        "files that are no images": 1,
        "images in folders inside a class": 1,
        "hidden files or folders": 1,
    }
    assert made.inventory is not None
    assert all(len(one.examples) <= EXAMPLES for one in made.inventory.passed)
    assert all(
        name in "\n".join(one.line() for one in made.inventory.passed) for name in ("9.png", "extra/", ".hidden")
    )


def shard_of(tmp_path: Path, more: dict[str, bytes]) -> Path:
    webdataset(tmp_path)
    tar(tmp_path / "train-0.tar", members("train") | more)
    return tmp_path


@pytest.mark.parametrize("kind", ["webp", "bmp", "jpg", "jpeg", "jfif"])
def test_f4_other_images_of_a_shard_are_read(tmp_path: Path, kind: str) -> None:
    form = {"webp": "WEBP", "bmp": "BMP"}.get(kind, "JPEG")
    made = read("webdataset", shard_of(tmp_path, {f"x.{kind}": picture(1, form), "x.cls": b"1"}))
    assert len(made.train.labels) == 7


@pytest.mark.parametrize("kind", ["gif", "tif", "tiff", "heic", "ppm"])
def test_f4_an_image_of_a_shard_that_is_not_read_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UnsupportedError, match=f"sample 'x' has an image .{kind}"):
        read("webdataset", shard_of(tmp_path, {f"x.{kind}": b"GIF89a", "x.cls": b"1"}))


def test_f4_a_key_ends_at_the_first_dot(tmp_path: Path) -> None:
    made = read("webdataset", shard_of(tmp_path / "one", {"a.b.png": picture(1), "a.cls": b"1"}))
    assert (made.train.images[6] == pixels(1)).all()
    made = read("webdataset", shard_of(tmp_path / "two", {"a.png": picture(1), "a.seg.png": picture(2), "a.cls": b"1"}))
    assert (made.train.images[6] == pixels(1)).all()
    assert passed(made) == {"members .png": 1}
    two = {"img.1.png": picture(1), "img.1.cls": b"0", "img.2.png": picture(2), "img.2.cls": b"0"}
    with pytest.raises(DamagedError, match=r"sample 'img' has 2 images.*first dot"):
        read("webdataset", shard_of(tmp_path / "three", two))


def test_g10_foreign_members_are_counted_and_ways_out_are_refused(tmp_path: Path) -> None:
    more = {"x.png": picture(1), "x.cls": b"1", "x.json": b'{"label": 0}', "x.pyd": b"x", "y.txt": b"alone"}
    made = read("webdataset", shard_of(tmp_path / "one", more))
    assert passed(made) == {
        "members .json": 1,
        "members .pyd": 1,
        "labels in .json that are not those in .cls, which are taken": 1,
        "samples without an image": 1,
    }
    for name in ("../x.png", "a/../../x.png", "/x.png"):
        with pytest.raises(DamagedError, match="leads out of the archive"):
            read("webdataset", shard_of(tmp_path / "two", {name: b"x"}))


@pytest.mark.parametrize("many", [1, 12])
@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_f14_all_bad_images_are_named_at_once(tmp_path: Path, kind: str, many: int) -> None:
    SOURCES[kind](tmp_path)
    bad = {f"b{number:02d}": picture(number)[:-9] for number in range(many)}
    if kind == "folder":
        for name, data in bad.items():
            put(tmp_path / "train" / "cat" / f"{name}.png", data)
    else:
        both = {f"{name}.{one}": data for name, png in bad.items() for one, data in (("png", png), ("cls", b"0"))}
        tar(tmp_path / "train-0.tar", members("train") | both)
    with pytest.raises(DamagedError, match="12 images cannot be read: .*b09.*and 2 more" if many > 1 else "b00"):
        read(kind, tmp_path)


def test_f14_a_large_photograph_is_read_with_resize(tmp_path: Path) -> None:
    folder(tmp_path)
    data = picture(1) + bytes(9 << 20)
    put(tmp_path / "train" / "cat" / "x.png", data)
    assert len(read("folder", tmp_path, resize=8).train.labels) == 7


def test_folders_that_hold_nothing_are_missing(tmp_path: Path) -> None:
    put(tmp_path / "loose.png", picture(1))
    with pytest.raises(MissingError, match="no class folder, but 1 images"):
        read("folder", tmp_path, holdout="1/2")
    with pytest.raises(PoisonsetsError, match="no image found"):
        read("folder", put(tmp_path / "empty" / "notes.txt", b"").parent, holdout="1/2")
