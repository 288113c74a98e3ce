"""An array file is what the safetensors library would write, and comes back as it was written or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import array_file
from poisonsets.manifests.files.safetensors_header import HEADER_BYTES, ArraySpec

RECORD = {"of": "a test", "numbers": [1, 2]}
ARRAYS: dict[str, NDArray[Any]] = {
    "b.counts": np.array([1, -2, 3], np.int64),
    "a.bytes": np.arange(7, dtype=np.uint8),
    "scalar": np.array(0.5, np.float32),
    "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    "float": np.array([[np.nan, -np.inf]], np.float32),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "file.safetensors"
    array_file.write(path, RECORD, ARRAYS)
    return path


def read(path: Path, **options: Any) -> array_file.ArrayFile:
    return array_file.read(path, lambda _: None, **{"limit": 1 << 20, "remedy": "Make it again"} | options)


def test_arrays_and_record_come_back(written: Path) -> None:
    found = read(written)
    assert found.record == RECORD
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found.arrays[name], array)
        found.arrays[name].fill(1)  # whoever reads them may change them


def test_the_bytes_are_those_of_the_library(written: Path) -> None:
    data = written.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert data == save(ARRAYS, metadata=header["__metadata__"])
    for name, array in load(data).items():
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_only_values_decide_the_bytes(written: Path, tmp_path: Path) -> None:
    other = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in reversed(ARRAYS.items())}
    other["half"] = np.asfortranarray(other["half"])
    digest = array_file.write(tmp_path / "other", dict(reversed(RECORD.items())), other)
    assert (tmp_path / "other").read_bytes() == written.read_bytes()
    assert read(written).digest == digest


def test_parts_make_the_same_file(tmp_path: Path) -> None:
    whole = np.arange(40, dtype=np.float16).reshape(10, 4)
    array_file.write(tmp_path / "whole", RECORD, {"x": whole})
    array_file.write_parts(tmp_path / "parts", RECORD, "x", ArraySpec("F16", (10, 4)), iter((whole[:3], whole[3:])))
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_writer_that_fails_leaves_what_was_there(written: Path) -> None:
    before = written.read_bytes()

    def parts() -> Iterator[NDArray[Any]]:
        yield np.zeros((1, 2), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        array_file.write_parts(written, RECORD, "x", ArraySpec("F32", (2, 2)), parts())
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_too_few_parts_make_no_file_that_is_read(tmp_path: Path) -> None:
    path, spec = tmp_path / "few", ArraySpec("F32", (2, 2))
    array_file.write_parts(path, RECORD, "x", spec, [np.zeros((1, 2), np.float32)])
    with pytest.raises(DamagedError, match="end at byte"):
        read(path)


def test_no_changed_byte_goes_unnoticed(written: Path) -> None:
    good = written.read_bytes()
    for place in range(len(good)):
        written.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(DamagedError, match=r"file\.safetensors.*Make it again"):
            read(written)
    for bad in (b"", good[:-1], good + b"\0", good[:9]):
        written.write_bytes(bad)
        with pytest.raises(DamagedError, match=r"file\.safetensors.*Make it again"):
            read(written)


def test_what_is_wanted_is_compared_before_an_array_is_read(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = {name: ArraySpec.of(array) for name, array in ARRAYS.items()}
    assert array_file.read(written, lambda record: specs, limit=1 << 20, remedy="").digest
    monkeypatch.setattr(array_file, "arrays_digest", lambda _: pytest.fail("arrays were read"))
    for change in ({"half": ArraySpec("F16", (3, 2))}, {"half": ArraySpec("F32", (2, 3))}, {"more": specs["half"]}):
        with pytest.raises(DamagedError, match=f"tensor {next(iter(change))} is .*, wanted F"):
            array_file.read(written, lambda _, change=change: specs | change, limit=1 << 20, remedy="")
    with pytest.raises(DamagedError, match="tensor half is F16"):
        array_file.read(written, lambda _: {k: s for k, s in specs.items() if k != "half"}, limit=1 << 20, remedy="")


def test_one_array_is_read_by_what_it_was_written_with(tmp_path: Path) -> None:
    path, spec = tmp_path / "one", ArraySpec.of(ARRAYS["half"])
    array_file.write(path, RECORD, {"half": ARRAYS["half"]})
    np.testing.assert_array_equal(array_file.read_one(path, RECORD, "half", spec, remedy=""), ARRAYS["half"])
    for record, name in ((RECORD | {"of": "another"}, "half"), (RECORD, "other")):
        with pytest.raises(DamagedError, match="Make it again"):
            array_file.read_one(path, record, name, spec, remedy="Make it again")


def test_size_and_header_are_bounded(written: Path) -> None:
    with pytest.raises(DamagedError, match="larger than 100 bytes"):
        read(written, limit=100)
    with pytest.raises(DamagedError, match="header over 64 bytes"):
        read(written, header_limit=64)
    array_file.write(written, {"text": "x" * HEADER_BYTES}, {})
    with pytest.raises(DamagedError, match="header over"):
        read(written, limit=4 << 20)


def test_only_regular_files_are_read(written: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(written)
    for path, error in ((tmp_path / "link", DamagedError), (tmp_path, DamagedError), (tmp_path / "none", MissingError)):
        with pytest.raises(error, match="Make it again"):
            read(path)
