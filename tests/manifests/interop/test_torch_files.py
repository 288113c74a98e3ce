"""What torch wrote is read as torch would read it, and nothing that is not data is."""

from __future__ import annotations

import io
import pickle  # writes fixtures; the project itself never imports it
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pickles import interpreter
from poisonsets.manifests.files.pickles.images import KNOWN
from poisonsets.manifests.files.pickles.torch_files import load_torch, tensors
from poisonsets.manifests.files.zip_reader import Archive

FORMS = [True, False]


def saved(value: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def pickled(value: Any, protocol: int) -> Any:
    data = pickle.dumps(value, protocol)
    return interpreter.load(data, "x", {**KNOWN, **tensors(len(data), "x")})


VIEWS = {
    "plain": lambda t: t,
    "transposed": lambda t: t.transpose(0, 2),
    "part": lambda t: t[1:, ::2],
    "one": lambda t: t[0, 0, 0],
    "empty": lambda t: t[:0],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.int8])
def test_tensors_come_back_equal_in_every_form(view: str, dtype: torch.dtype) -> None:
    tensor = VIEWS[view](torch.arange(24).reshape(2, 3, 4).to(dtype))
    wanted = tensor.numpy()
    found = [load_torch(saved([tensor, tensor, 7], zipped), "x") for zipped in FORMS]
    found += [pickled([tensor, tensor, 7], protocol) for protocol in (2, 3, 4, 5)]
    for first, second, number in found:
        for one in (first, second):
            assert (one.dtype, one.shape) == (wanted.dtype, wanted.shape)
            assert np.array_equal(one, wanted)
            assert not one.flags.writeable
        assert number == 7


@pytest.mark.parametrize("zipped", FORMS)
def test_two_tensors_of_one_storage_and_dicts(zipped: bool) -> None:
    whole = torch.arange(10)
    value = load_torch(saved({"a": whole[2:5], "b": [whole[5:]], "c": None}, zipped), "x")
    assert value["a"].tolist() == [2, 3, 4]
    assert value["b"][0].tolist() == [5, 6, 7, 8, 9]


class Runs:
    """Pickles to a call that would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", FORMS)
def test_what_is_not_data_is_refused_by_its_name_and_not_run(tmp_path: Path, zipped: bool) -> None:
    with pytest.raises(DamagedError, match=r"the global (posix|nt|os)\.system is not allowed"):
        load_torch(saved([torch.zeros(2), Runs(tmp_path / "ran")], zipped), "x")
    with pytest.raises(DamagedError, match=r"is not allowed"):
        load_torch(saved(torch.nn.Linear(1, 1), zipped), "x")
    assert not (tmp_path / "ran").exists()


def test_an_attack_inside_a_nested_tensor_is_refused(tmp_path: Path) -> None:
    blob = saved([Runs(tmp_path / "ran")], False)
    outer = b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + len(blob).to_bytes(4, "little") + blob + b"\x85R."
    with pytest.raises(DamagedError, match="system is not allowed"):
        interpreter.load(outer, "x", {**KNOWN, **tensors(len(outer), "x")})
    nested = b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + len(outer).to_bytes(4, "little") + outer + b"\x85R."
    with pytest.raises(DamagedError):
        interpreter.load(nested, "x", {**KNOWN, **tensors(len(nested), "x")})
    assert not (tmp_path / "ran").exists()


def test_a_blob_that_is_read_again_and_again_is_a_bomb() -> None:
    blob = saved_storage()
    again = b"h\x00h\x01\x85R0" * 50
    start = b"\x80\x04ctorch.storage\n_load_from_bytes\nq\x000B" + len(blob).to_bytes(4, "little") + blob + b"q\x010"
    data = start + again + b"N."
    with pytest.raises(DamagedError, match="more bytes than the file has"):
        interpreter.load(data, "x", {**KNOWN, **tensors(len(data), "x")})


def saved_storage() -> bytes:
    """The nested file of a tensor's storage, cut out of a pickle."""
    data = pickle.dumps(torch.arange(100.0), 4)
    at = data.index(b"B", data.index(b"_load_from_bytes"))
    return data[at + 5 : at + 5 + int.from_bytes(data[at + 1 : at + 5], "little")]


def rebuilt(size: str, stride: str, offset: int = 0) -> bytes:
    """A pickle of a tensor over a storage of 100 floats, its size and stride as opcodes."""
    blob = saved_storage()
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nB"
    middle = len(blob).to_bytes(4, "little") + blob + b"\x85R" + f"I{offset}\n{size}{stride}".encode()
    return b"\x80\x04" + call + middle + b"\x89ccollections\nOrderedDict\n)RtR."


LIES = {
    "past the end": ("(I101\nt", "(I1\nt", 0),
    "repeated": ("(I1000000\nt", "(I0\nt", 0),
    "offset": ("(I50\nt", "(I1\nt", 51),
    "stride": ("(I2\nt", "(I100\nt", 0),
    "negative stride": ("(I2\nt", "(I-1\nt", 5),
    "negative size": ("(I-2\nt", "(I1\nt", 0),
    "other rank": ("(I2\nI2\nt", "(I1\nt", 0),
    "huge": ("(I99999999999999\nI99999999999999\nt", "(I1\nI1\nt", 0),
}


@pytest.mark.parametrize("name", LIES)
def test_a_tensor_stays_in_its_storage(name: str) -> None:
    honest = rebuilt("(I10\nI10\nt", "(I10\nI1\nt")
    allowed = {**KNOWN, **tensors(1 << 20, "x")}
    assert interpreter.load(honest, "x", allowed)[9, 9] == 99
    with pytest.raises(DamagedError):
        interpreter.load(rebuilt(*LIES[name]), "x", allowed)


@pytest.mark.parametrize("zipped", FORMS)
def test_every_cut_and_many_flips_end_in_a_value_or_in_damage(zipped: bool) -> None:
    good = saved([torch.arange(6.0).reshape(1, 2, 3), torch.tensor([4])], zipped)
    for end in range(0, len(good), 1 if len(good) < 1000 else 7):
        with pytest.raises(DamagedError):
            load_torch(good[:end], "x")
    rng = np.random.default_rng(0)
    for _ in range(800):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            load_torch(bytes(data), "x")
        except DamagedError:
            continue


def zipfile_of(members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_zips_are_read_strictly() -> None:
    honest = zipfile_of({"a": b"x" * 3000})
    assert Archive(honest, "x").read("a") == b"x" * 3000
    deflated = zipfile_of({"a": b"x" * (1 << 22)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DamagedError, match="compressed in a way"):
        Archive(deflated, "x")
    with pytest.raises(DamagedError, match="save it uncompressed"):
        Archive(deflated, "x", deflated=True)
    with pytest.raises(DamagedError, match="occurs twice"):
        Archive(zipfile_of({"a": b"1", "b": b"2"}).replace(b"b", b"a"), "x")
    with pytest.raises(DamagedError, match="no member"):
        Archive(honest, "x").read("b")
    with pytest.raises(DamagedError, match="not a readable zip"):
        Archive(b"PK\x03\x04" + bytes(100), "x")
    broken = bytearray(honest)
    broken[100] ^= 1
    with pytest.raises(DamagedError, match="cannot be read"):
        Archive(bytes(broken), "x").read("a")
    with pytest.raises(DamagedError, match="more than 10000 members"):
        Archive(zipfile_of({str(number): b"" for number in range(10_001)}), "x")
