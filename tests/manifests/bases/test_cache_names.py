"""The name that the list shows opens a base from any folder, with the options it was added with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from poisonsets.manifests.bases.cache import add_base, find_base, list_bases, open_base, remove_base
from poisonsets.manifests.bases.cache_entries import CacheEntry
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files import canonical_json

Fill = Callable[[str], Path]


@pytest.fixture
def fill(tmp_path: Path, picture: Callable[..., bytes]) -> Fill:
    """fill(name, sides=(4, 4)) makes a folder of images of two classes, whose sides alternate."""

    def make(name: str, sides: tuple[int, int] = (4, 4)) -> Path:
        for number in range(8):
            path = tmp_path / name / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(len(name) * 100 + number, side=sides[number // 2 % 2]))
        return tmp_path / name

    return make


def names(cache: Path) -> list[str]:
    return [entry.name for entry in list_bases(cache)]


def pasted(error: PoisonsetsError, cache: Path) -> None:
    """Do what the remedy says."""
    words = shlex.split(error.remedy.split("`")[1])
    assert words[:3] == ["poisonsets", "base", "add"]
    source = Path(words[5]) if words[4:5] == ["--from"] else None
    add_base(parse_spec(words[3], source=source), cache=cache)


def test_a_relative_path_opens_from_any_folder_with_its_options(
    fill: Fill, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill("my flowers")
    monkeypatch.chdir(folder.parent)
    pin = add_base(parse_spec("folder:my flowers@holdout=1/4,resize=6"), cache=cache).pin()
    monkeypatch.chdir("/")
    assert names(cache) == ["folder:my-flowers", "digits"]
    for name in ("folder:my-flowers", f"folder:{folder}", f"folder:{folder}@resize=6,holdout=25%"):
        assert open_base(name, cache=cache).pin() == pin
    with pytest.raises(MissingError, match=r"or open folder:my-flowers$"):
        open_base("folder:my flowers", cache=cache)  # there is none in this folder


def test_every_name_of_the_list_opens_its_own_base(fill: Fill, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"folder:{fill(name)}@holdout=1/4" for name in ("one/flowers", "another/flowers", "birds")]
    texts += ["digits@resize=8", texts[2].replace("1/4", "1/2")]
    pins = {parse_spec(text).text: add_base(parse_spec(text), cache=cache).pin() for text in texts}
    monkeypatch.chdir(fill("one/flowers").parent)  # where `folder:flowers` is a path too
    lines = list_bases(cache)
    assert sorted(line.name for line in lines) == sorted([*pins, "digits"])
    for line in lines:
        assert open_base(line.name, cache=cache).pin() == pins.get(line.spec, line.pin)
    assert open_base("folder:flowers", cache=cache).pin() == pins[texts[0]]
    remove_base(texts[1], cache=cache)
    assert "folder:flowers" in names(cache)


def test_a_listed_name_is_not_the_folder_of_that_name_here(
    fill: Fill, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = add_base(parse_spec(f"folder:{fill('one/flowers')}@holdout=1/4"), cache=cache).pin()
    here = fill("another/flowers")
    monkeypatch.chdir(here.parent)
    assert open_base("folder:flowers", cache=cache).pin() == pin
    with pytest.raises(MissingError, match=f"base folder:{here} is not in the cache"):
        open_base("folder:./flowers", cache=cache)


def test_what_names_several_bases_is_refused_with_their_names(fill: Fill, cache: Path) -> None:
    place = f"folder:{fill('birds')}"
    for text in (f"{place}@holdout=1/4", f"{place}@holdout=1/2"):
        add_base(parse_spec(text), cache=cache)
    for name in (place, "folder:birds"):  # neither is in the list
        for command in (open_base, remove_base):
            with pytest.raises(UsageError, match="names 2 bases in the cache") as caught:
                command(name, cache=cache)
            assert caught.value.remedy == f"Choose {place}@holdout=1/2 or {place}@holdout=1/4"


def test_one_line_says_all_that_is_missing(fill: Fill, cache: Path) -> None:
    folder = fill("my mixed flowers", sides=(5, 4))
    spec = parse_spec(f"folder:{folder}")
    with pytest.raises(UsageError, match="no test split and its images differ in size") as caught:
        add_base(spec, cache=cache)
    assert f"'folder:{folder}@holdout=1/20,resize=4'" in caught.value.remedy
    with pytest.raises(MissingError, match="not in the cache") as missed:
        open_base(spec.text, cache=cache)
    assert f"'folder:{folder}@holdout=1/20,resize=4'" in missed.value.remedy
    with pytest.raises(UsageError, match="differ in size: 5x5 and 4x4") as unequal:
        add_base(parse_spec(spec.text, holdout="1/4", split_seed=2), cache=cache)
    for number, error in enumerate((caught.value, missed.value, unequal.value)):
        pasted(error, cache)
        assert len(list((cache / "bases").glob("*.h5"))) == 1 + number // 2
    assert open_base(f"folder:{folder}@holdout=1/4,resize=4,split-seed=2", cache=cache).train.side == (4, 4)


def test_a_path_that_holds_an_at_is_added_and_opened(fill: Fill, cache: Path) -> None:
    folder = fill("me@home")
    with pytest.raises(UsageError) as caught:
        parse_spec(f"folder:{folder}")
    with pytest.raises(UsageError, match="no test split") as lacking:
        pasted(caught.value, cache)
    pasted(lacking.value, cache)
    assert names(cache) == ["folder:me@home", "digits"]
    pin = open_base("folder:me@home", cache=cache).pin()
    assert open_base(f"folder:{folder}@holdout=1/20", cache=cache).pin() == pin
    assert open_base(f"folder:{folder}@", cache=cache).pin() == pin


def entry(cache: Path) -> CacheEntry:
    (found,) = (entry for entry in list_bases(cache) if entry.bytes)
    return found


def age(path: Path, *, spec: str, options: str) -> None:
    """Turn a cache file into what the first version would have written."""
    with h5py.File(path, "r+") as file:
        record = json.loads(file["record"][()].tobytes())
        record.update(format="poisonset-base/1", spec=spec, options=options)
        record["pin"]["poison_classes"] = record["pin"].pop("victim_classes")
        del file["record"]
        file["record"] = np.frombuffer(canonical_json.dumps(record), np.uint8)


def test_a_file_of_an_earlier_version_says_how_to_add_it_again(fill: Fill, cache: Path) -> None:
    folder = fill("my old flowers")
    pin = add_base(parse_spec(f"folder:{folder}@holdout=1/4,split-seed=3,resize=4"), cache=cache).pin()
    path = entry(cache).file
    old = path.rename(path.with_name("folder-my-old-flowers-0123456789ab.h5"))
    age(old, spec=f"folder:{folder}", options=" --holdout 1/4 --split-seed 3 --resize 4")
    command = f"`poisonsets base add 'folder:{folder}@holdout=1/4,resize=4,split-seed=3'`"
    assert (entry(cache).name, entry(cache).pin) == (old.name, None)
    assert command in str(entry(cache).problem)
    for name in (f"folder:{folder}", old.name):
        with pytest.raises(MissingError, match="made by an earlier version") as caught:
            open_base(name, cache=cache)
        assert caught.value.remedy == f"Add it again: {command}"
    with pytest.raises(MissingError, match="not in the cache"):
        find_base(pin, cache=cache)
    pasted(caught.value, cache)
    assert not old.exists()
    assert find_base(pin, cache=cache).pin() == pin


def test_digits_of_an_earlier_version_are_made_anew(cache: Path) -> None:
    pin = open_base("digits", cache=cache).pin()
    age(entry(cache).file, spec="digits", options="")
    assert [line.name for line in list_bases(cache)] == [entry(cache).file.name, "digits"]
    assert open_base("digits", cache=cache).pin() == pin
    assert names(cache) == ["digits"]


def test_a_base_is_removed_by_its_name_and_no_other(fill: Fill, cache: Path) -> None:
    for name in ("flowers", "birds"):
        add_base(parse_spec(f"folder:{fill(name)}@holdout=1/4"), cache=cache)
    open_base("digits", cache=cache)
    with pytest.raises(UsageError, match=r"'folder:flower'.* Did you mean folder:flowers\?"):
        remove_base("folder:flower", cache=cache)
    with pytest.raises(UsageError, match="Did you mean folder:birds"):
        remove_base("birds", cache=cache)
    removed = remove_base("folder:flowers", cache=cache)
    assert (removed.name, removed.file.exists()) == ("folder:flowers", False)
    assert removed.bytes > 0
    assert names(cache) == ["digits", "folder:birds"]
    remove_base("digits", cache=cache)
    with pytest.raises(UsageError, match="no base in the cache is called 'digits'"):
        remove_base("digits", cache=cache)


def test_a_damaged_file_is_removed_by_its_file_name(cache: Path) -> None:
    open_base("digits", cache=cache)
    path = entry(cache).file
    path.write_bytes(b"damaged")
    with pytest.raises(DamagedError) as caught:
        open_base(path.name, cache=cache)
    assert caught.value.remedy == f"Type `poisonsets base remove {path.name}`"
    assert remove_base(path.name, cache=cache).file == path
    assert names(cache) == ["digits"]
