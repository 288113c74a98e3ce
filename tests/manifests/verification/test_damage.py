"""Damage: whatever happens to any byte or file of a set, verify says so, names the file, and exits 3."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from forge import check, rewritten

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files import canonical_json

FILES = ("manifest.json", "run.json", "README.md", "poisons/trial-00000-000.tar", "poisons/trial-00001-000.tar")


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "copy"))


def test_a_fresh_set_is_clean(honest: Path, base: Base) -> None:
    report = check(honest, base)
    assert report.clean
    assert report.total == 0
    assert report.checked["poisons"] == 8
    assert sorted(str(p.relative_to(honest)) for p in honest.rglob("*") if p.is_file()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_d103_any_flipped_byte_is_damage(copy: Path, base: Base, name: str) -> None:
    path = copy / name
    data = path.read_bytes()
    stride = max(1, len(data) // 150)
    for at in {*range(0, len(data), stride), len(data) - 1}:
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        report = check(copy, base)
        assert report.worst == 3, f"byte {at} of {name}"
        assert name in report.findings[0].place
    path.write_bytes(data)
    assert check(copy, base).clean


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_cut_file_is_damage(copy: Path, base: Base, name: str, share: float) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: int(len(data) * share)])
    report = check(copy, base)
    assert (report.worst, name in report.findings[0].place) == (3, True)


@pytest.mark.parametrize("name", FILES)
def test_d102_a_missing_file_is_damage(copy: Path, base: Base, name: str) -> None:
    (copy / name).unlink()
    report = check(copy, base)
    assert (report.worst, name in report.findings[0].place) == (3, True)


@pytest.mark.parametrize("name", FILES)
def test_a_renamed_file_is_damage(copy: Path, base: Base, name: str) -> None:
    (copy / name).rename((copy / name).with_suffix(".bak"))
    assert check(copy, base).worst == 3


@pytest.mark.parametrize("name", ["extra.txt", "poisons/trial-00002-000.tar", "deep/er/file", ".hidden"])
def test_d104_an_added_file_is_damage(copy: Path, base: Base, name: str) -> None:
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_bytes(b"")
    report = check(copy, base)
    assert report.worst == 3
    # An unlisted folder is one finding; what lies in it is not looked at.
    assert any(name == finding.place or name.startswith(f"{finding.place}/") for finding in report.findings)


def test_exchanged_shards_are_damage(copy: Path, base: Base) -> None:
    first, second = copy / FILES[3], copy / FILES[4]
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    places = {finding.place for finding in check(copy, base).findings}
    assert places == {f"trial 0 {FILES[3]}", f"trial 1 {FILES[4]}"}


@pytest.mark.parametrize("name", FILES)
def test_links_are_not_followed(copy: Path, base: Base, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (copy / name).rename(outside)
    (copy / name).symlink_to(outside)
    report = check(copy, base)
    assert (report.worst, name in report.findings[0].place) == (3, True)


def _spaced(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'":', b'": '))


def _default_left_out(path: Path) -> None:
    rewritten(path.parent, path.name, lambda document: document["trials"][0].pop("trigger"))


def _unknown_field(path: Path) -> None:
    rewritten(path.parent, path.name, lambda document: document.update(surprise=1))


def _float(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"levels":8', b'"levels":8.0'))


def _boolean(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"levels":8', b'"levels":true'))


def _path_outside(path: Path) -> None:
    rewritten(path.parent, path.name, lambda document: document["files"][1].update(path="../escape.tar"))


def _checksum(path: Path) -> None:
    rewritten(path.parent, path.name, lambda document: document.update(name="another"))


@pytest.mark.parametrize(
    "spoil", [_spaced, _default_left_out, _unknown_field, _float, _boolean, _path_outside, _checksum]
)
def test_d101_a_manifest_with_another_spelling_is_damage(copy: Path, base: Base, spoil: Callable[[Path], None]) -> None:
    before = (copy / "manifest.json").read_bytes()
    spoil(copy / "manifest.json")
    assert (copy / "manifest.json").read_bytes() != before
    report = check(copy, base)
    assert report.worst == 3
    assert [finding.code for finding in report.findings] == ["D101"]


def test_d105_a_shard_in_another_spelling_is_damage_though_its_hash_is_right(copy: Path, base: Base) -> None:
    data = bytearray((copy / FILES[3]).read_bytes())
    data[100:107] = b"0000644"  # the mode of the first member
    (copy / FILES[3]).write_bytes(data)
    document = canonical_json.loads((copy / "manifest.json").read_bytes(), "manifest.json")
    record = next(one for one in document["files"] if one["path"] == FILES[3])
    record["sha256"] = hashlib.sha256(data).hexdigest()
    (copy / "manifest.json").write_bytes(canonical_json.checksummed(document))
    report = check(copy, base)
    assert [(one.code, one.place, one.trial) for one in report.findings] == [("D105", "trial 0", 0)]
    assert report.worst == 3


def test_d106_a_run_record_that_was_edited_is_damage(copy: Path, base: Base) -> None:
    rewritten(copy, "run.json", lambda document: document.update(host="another"))
    report = check(copy, base)
    assert (report.worst, [(one.code, one.place) for one in report.findings]) == (3, [("D106", "run.json")])
