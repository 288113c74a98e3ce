"""What was added to the cache comes back the same or not at all; a miss says what to type."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from poisonsets.manifests.bases import cache_entries, cache_file
from poisonsets.manifests.bases.cache import add_base, find_base, list_bases, open_base
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.registry import kinds
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError


@pytest.fixture
def source(tmp_path: Path, shard: Callable, samples: Callable) -> Path:
    folder = tmp_path / "my flowers"
    folder.mkdir()
    shard(folder / "a.tar", samples(12, classes=3))
    return folder


def add(spec: str, *, cache: Path, progress: Callable[..., None] | None = None, **options: Any) -> Base:
    return add_base(parse_spec(spec, **options), cache=cache, progress=progress)


def the_file(cache: Path) -> Path:
    (path,) = (cache / "bases").glob("*.h5")
    return path


def test_what_is_added_is_what_is_opened(source: Path, cache: Path) -> None:
    spec = f"webdataset:{source}"
    seen = []
    added = add(spec, cache=cache, holdout="1/4", progress=lambda done, total: seen.append((done, total)))
    opened = open_base(f"{spec}@holdout=1/4", cache=cache)
    for split in ("train", "test"):
        assert (added.split(split).images == opened.split(split).images).all()
        assert (added.split(split).labels == opened.split(split).labels).all()
    assert added.pin() == opened.pin()
    assert (opened.mirror, opened.pretrain_classes) == (True, (0, 1, 2))
    assert opened.name == "webdataset:my-flowers"
    assert find_base(added.pin(), cache=cache).pin() == added.pin()
    assert sorted(path.suffix for path in (cache / "bases").iterdir()) == [".h5", ".lock"]


def test_options_make_different_entries_and_equal_ones_the_same(source: Path, cache: Path) -> None:
    spec = f"webdataset:{source}"
    add(spec, cache=cache, holdout="1/4")
    add(spec, cache=cache, holdout="2/8")
    add(f"webdataset:{source}/../my flowers", cache=cache, holdout="1/4")
    assert len(list((cache / "bases").glob("*.h5"))) == 1
    add(spec, cache=cache, holdout="1/4", split_seed=1)
    add(spec, cache=cache, holdout="1/4", resize=8)
    assert len(list((cache / "bases").glob("*.h5"))) == 3


def test_a_miss_says_the_command_to_type(source: Path, cache: Path) -> None:
    with pytest.raises(MissingError, match="Type `poisonsets base add cifar10 --download`") as caught:
        open_base("cifar10", cache=cache)
    assert caught.value.exit_code == 4
    with pytest.raises(MissingError) as caught:
        open_base(f"webdataset:{source}@resize=8,holdout=1/4", cache=cache)
    assert caught.value.remedy == f"Type `poisonsets base add 'webdataset:{source}@holdout=1/4,resize=8'`"
    add(f"webdataset:{source}", cache=cache, holdout="1/4")
    with pytest.raises(MissingError, match="or open webdataset:my-flowers"):
        open_base(f"webdataset:{source}@holdout=1/3", cache=cache)


def test_a_base_is_found_by_its_digests_only(source: Path, cache: Path) -> None:
    pin = add(f"webdataset:{source}", cache=cache, holdout="1/4").pin()
    other = pin.model_copy(update={"name": "cifar10"})
    assert find_base(other, cache=cache).pin() == pin
    fewer = pin.model_copy(update={"victim_classes": (2, 0)})
    assert find_base(fewer, cache=cache).pin() == fewer
    for wrong in ("train", "test"):
        splits = {**pin.splits, wrong: pin.splits[wrong].model_copy(update={"digest": "0" * 64})}
        with pytest.raises(MissingError, match="with other pixels") as caught:
            find_base(pin.model_copy(update={"splits": splits}), cache=cache)
        assert "poisonsets base add webdataset:PATH" in caught.value.remedy


def test_of_two_bases_with_equal_images_the_one_that_agrees_is_found(source: Path, cache: Path, tmp_path: Path) -> None:
    """An honest set is judged by the base it was made from, whatever else is cached."""
    pins = []
    for name, classes in (("aaa", ["x", "y", "z"]), ("mmm", ["0", "1", "2", "3"]), ("zzz", ["p", "q", "r"])):
        copy = shutil.copytree(source, tmp_path / name)
        (copy / "classes.json").write_text(json.dumps(classes))
        pins.append(add(f"webdataset:{copy}", cache=cache, holdout="1/4").pin())
    assert len({pin.splits["train"].digest for pin in pins}) == 1
    for pin in pins:
        assert find_base(pin, cache=cache).pin() == pin
        renamed = pin.model_copy(update={"name": "elsewhere", "victim_classes": (1, 2)})
        found = find_base(renamed, cache=cache)
        assert (found.classes, found.victim_classes) == (pin.classes, (1, 2))


def test_digits_is_found_without_being_added(cache: Path) -> None:
    pin = open_base("digits", cache=cache / "one").pin()
    assert find_base(pin, cache=cache / "two").pin() == pin
    assert not (cache / "two").exists()  # verifying writes nothing


def test_the_list_names_cached_and_embedded_bases(source: Path, cache: Path) -> None:
    (line,) = list_bases(cache)
    assert (line.name, line.bytes, line.file.exists()) == ("digits", 0, False)
    pin = add(f"webdataset:{source}", cache=cache, holdout="1/4").pin()
    open_base("digits", cache=cache)
    lines = {line.name: line for line in list_bases(cache)}
    assert set(lines) == {"digits", "webdataset:my-flowers"}
    line = lines["webdataset:my-flowers"]
    assert (line.spec, line.pin) == (f"webdataset:{source}@holdout=1/4", pin)
    assert line.bytes == line.file.stat().st_size > 12 * 4 * 4 * 3
    the = next((cache / "bases").glob("digits*.h5"))
    the.write_bytes(b"damaged")
    assert [line.name for line in list_bases(cache) if line.problem] == [the.name]


@pytest.mark.parametrize("name", ["train/images", "train/labels", "test/images", "test/labels"])
def test_a_changed_pixel_or_label_is_damage(source: Path, cache: Path, name: str) -> None:
    add(f"webdataset:{source}", cache=cache, holdout="1/4")
    with h5py.File(the_file(cache), "r+") as file:
        values = file[name][()]
        values.flat[0] ^= 1
        file[name][...] = values
    with pytest.raises(DamagedError, match="digest") as caught:
        open_base(f"webdataset:{source}@holdout=1/4", cache=cache)
    assert caught.value.remedy == f"Type `poisonsets base add 'webdataset:{source}@holdout=1/4'`"


@pytest.mark.parametrize("record", [b"", b"{}\n", b"[]\n", b'{"pin": 1}\n', b"\xff"])
def test_a_changed_record_is_damage(source: Path, cache: Path, record: bytes) -> None:
    add(f"webdataset:{source}", cache=cache, holdout="1/4")
    with h5py.File(the_file(cache), "r+") as file:
        del file["record"]
        file["record"] = np.frombuffer(record, np.uint8)
    with pytest.raises(DamagedError, match="record"):
        open_base(f"webdataset:{source}@holdout=1/4", cache=cache)


def test_a_failed_build_leaves_the_earlier_one(source: Path, cache: Path) -> None:
    spec = f"webdataset:{source}"
    before = add(spec, cache=cache, holdout="1/4").pin()
    (source / "a.tar").write_bytes(b"damaged")
    with pytest.raises(DamagedError):
        add(spec, cache=cache, holdout="1/4")
    assert open_base(f"{spec}@holdout=1/4", cache=cache).pin() == before


def test_a_full_disk_leaves_nothing_under_the_final_name(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MissingError, match="No space left"):
        add(f"webdataset:{source}", cache=cache, holdout="1/4")
    assert [path.suffix for path in (cache / "bases").iterdir()] == [".lock"]


def test_a_second_builder_waits_then_names_the_lock(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_file, "LOCK_SECONDS", 0.1)
    lock = cache_entries.cache_path(parse_spec("digits"), cache).with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(MissingError, match=r"digits-.*\.lock: another process"):
            open_base("digits", cache=cache)
    assert open_base("digits", cache=cache).name == "digits"


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="a file stands where"):
        open_base("digits", cache=tmp_path / "file")


def test_every_kind_is_described_in_one_line() -> None:
    for name, kind in kinds().items():
        assert name == kind.name
        assert kind.summary
        assert "\n" not in kind.summary
    assert {"digits", "cifar10", "cifar100", "folder", "webdataset", "hdf5"} <= set(kinds())
    assert {"tinyimagenet", "tinyimagenet-first", "tinyimagenet-second"} <= set(kinds())


def test_digits_takes_no_source_and_no_holdout(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no path"):
        add("digits", cache=cache, source=tmp_path)
    with pytest.raises(UsageError, match="its own test split") as caught:
        open_base("digits@holdout=1/5", cache=cache)
    assert caught.value.remedy == "Type `poisonsets base add digits`"
    assert open_base("digits@resize=16", cache=cache).train.side == (16, 16)
