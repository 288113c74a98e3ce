"""State dicts as torch and safetensors write them come back equal, and nothing else is read as one."""

from __future__ import annotations

import argparse
import collections
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from poisonsets.manifests.errors import DamagedError, PoisonsetsError, UsageError
from poisonsets.manifests.files.state_dicts import read_state_dict

FORMS = [(zipped, protocol) for zipped in (True, False) for protocol in (2, 3, 4, 5)]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32]
VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda t: t,
    "transposed": lambda t: t.transpose(0, 2),
    "part": lambda t: t[1:, ::2],
    "one": lambda t: t[0, 0, 0],
    "channels-last": lambda t: t[None].contiguous(memory_format=torch.channels_last),
}


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))


def written(path: Path, value: Any, form: tuple[bool, int] = (True, 2)) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=form[0], pickle_protocol=form[1])
    return path


def equal(path: Path, wanted: dict[str, torch.Tensor]) -> None:
    found = read_state_dict(path).tensors
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        widened = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        assert found[name].dtype == widened.numpy().dtype
        assert found[name].shape == tensor.shape
        assert np.array_equal(found[name], widened.numpy())
        assert not found[name].flags.writeable


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_of_every_kind_and_layout_come_back_equal(
    tmp_path: Path, form: tuple[bool, int], dtype: torch.dtype
) -> None:
    whole = (torch.arange(24).reshape(2, 3, 4) - 7).to(dtype)
    values = {name: view(whole) for name, view in VIEWS.items()}
    path = written(tmp_path / "w.pth", values, form)
    equal(path, values)
    assert list(read_state_dict(path).tensors) == list(values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_of_safetensors_come_back_equal(tmp_path: Path, dtype: torch.dtype) -> None:
    values = {name: view(torch.arange(24).reshape(2, 3, 4).to(dtype)).contiguous() for name, view in VIEWS.items()}
    save_file(values, tmp_path / "w.safetensors")
    equal(tmp_path / "w.safetensors", values)
    (tmp_path / "w.bin").write_bytes((tmp_path / "w.safetensors").read_bytes())
    equal(tmp_path / "w.bin", values)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("holder", ["state_dict", "net", "model", "model_state_dict"])
def test_a_checkpoint_is_read_for_its_state_dict(tmp_path: Path, form: tuple[bool, int], holder: str) -> None:
    model = module()
    optimiser = torch.optim.Adam(model[0].parameters())
    model[0](torch.rand(1, 3, 3, 3)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [1, 2, 2])
    checkpoint = {
        "epoch": 3,
        "best": np.float64(0.5),
        holder: torch.nn.DataParallel(model).state_dict(),
        "optimizer": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "args": argparse.Namespace(lr=0.1, milestones=[1, 2]),
        "meters": collections.defaultdict(list, {"loss": [1.0]}),
        "size": torch.Size([3, 3]),
        "device": torch.device("cpu"),
    }
    equal(written(tmp_path / "w.pth", checkpoint, form), model.state_dict())


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_tensors(tmp_path: Path, form: tuple[bool, int]) -> None:
    model = module()
    parameters = dict(model.named_parameters())
    path = written(tmp_path / "w.pth", parameters, form)
    equal(path, {name: parameter.detach() for name, parameter in parameters.items()})


def test_names_as_python_2_wrote_them(tmp_path: Path) -> None:
    """Every text of the older form as a byte string, as in the first files that were published."""
    wanted = module().state_dict()
    path = written(tmp_path / "w.pth", collections.OrderedDict(wanted), (False, 2))

    def as_bytes(match: re.Match[bytes]) -> bytes:
        return b"U" + match[1] + match[2]

    data = path.read_bytes()
    changed = re.sub(rb"X([\x01-\x7f])\0\0\0([a-z0-9._|]+)(?=q|\x8a|K|h|r)", as_bytes, data)
    assert len(changed) < len(data) - 3 * len(wanted)
    path.write_bytes(changed)
    equal(path, wanted)


def test_an_ordered_dict_of_pairs_is_not_copied_again_and_again(tmp_path: Path) -> None:
    pairs = b"](" + b"".join(b"X" + struct.pack("<I", 5) + b"%05d" % n + b"K\1\x86" for n in range(2_000)) + b"e"
    kept = b"(" + b"h\0h\1\x85R" * 2_000 + b"1"
    value = b"\x80\x02ccollections\nOrderedDict\nq\x000" + pairs + b"q\x010" + kept + b"N."
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    system = b"\x80\x02}(X\x0d\0\0\0little_endian\x88u."
    (tmp_path / "w.pth").write_bytes(magic + b"\x80\x02M\xe9\x03." + system + value + b"\x80\x02].")
    tracemalloc.start()
    with pytest.raises(UsageError, match="NoneType where a state dict"):
        read_state_dict(tmp_path / "w.pth")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20


def _cut(path: Path) -> None:
    written(path, module().state_dict())
    path.write_bytes(path.read_bytes()[:-200])


def _script(path: Path) -> None:
    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.save(torch.jit.script(module()), path)


REFUSED: dict[str, tuple[str, Callable[[Path], object], int, str]] = {
    "module": ("w.pth", lambda path: torch.save(module(), path), 3, r"Sequential is not allowed.*torch.save\("),
    "script": ("w.pt", _script, 3, "a TorchScript file, which holds code"),
    "cut": ("w.pth", _cut, 3, "not a readable zip"),
    "empty": ("w.pth", lambda path: path.write_bytes(b""), 3, "an empty file"),
    "folder": ("w.pth", lambda path: path.mkdir(), 3, "not a regular file"),
    "link": ("w.pth", lambda path: path.symlink_to(__file__), 3, "a link"),
    "missing": ("w.pth", lambda path: None, 4, "no such file"),
    "onnx": ("w.onnx", lambda path: path.write_bytes(b"\x08\x07"), 3, "an ONNX file is not read"),
    "keras": ("w.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), 3, "an HDF5 file is not read"),
    "hidden hdf5": ("w.pth", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), 3, "an HDF5 file is not read"),
    "a list": ("w.pth", lambda path: torch.save([torch.zeros(1)], path), 2, "a list where a state dict"),
    "no tensors": ("w.pth", lambda path: torch.save({"lr": 1, "epoch": 2}, path), 2, "its keys are lr, epoch"),
    "nothing": ("w.pth", lambda path: torch.save({}, path), 2, "its keys are none"),
    "text": ("w.safetensors", lambda path: path.write_text("hello, is this a model?"), 3, "not a safetensors file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_state_dict_is_refused_with_a_remedy(tmp_path: Path, case: str) -> None:
    name, make, code, words = REFUSED[case]
    make(tmp_path / name)
    with pytest.raises(PoisonsetsError, match=words) as caught:
        read_state_dict(tmp_path / name)
    assert caught.value.exit_code == code
    assert caught.value.message.startswith(str(tmp_path / name))
    assert caught.value.remedy


@pytest.mark.parametrize("zipped", [True, False])
def test_every_cut_and_many_flips_end_in_tensors_or_in_a_refusal(tmp_path: Path, zipped: bool) -> None:
    path = written(tmp_path / "w.pth", {"a": torch.arange(6.0).bfloat16().reshape(2, 3).T}, (zipped, 2))
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_state_dict(path)
        except PoisonsetsError:
            continue
    for end in range(0, len(good), 11):
        path.write_bytes(good[:end])
        with pytest.raises(DamagedError):
            read_state_dict(path)
