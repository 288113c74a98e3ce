"""The digest of a network's file: that of the network, and refused where bytes belong to no tensor or to two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.safetensors_header import tensors_digest
from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import save_weights

TENSORS: dict[str, Any] = {
    "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
    "b": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]},
}


def file(header: Any, values: bytes = bytes(range(16))) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def changed(name: str, **fields: Any) -> dict[str, Any]:
    return {**TENSORS, name: {**TENSORS[name], **fields}}


def test_it_is_the_digest_that_victims_compute(tmp_path: Path) -> None:
    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.25", "0.25"))
    network = build("resnet18", 3, "0.0625", *normal, generator=torch.Generator().manual_seed(0))
    digest = save_weights(tmp_path / "w", network, {"classes": [0, 1, 2]}, {}, classes=(0, 1, 2))
    assert tensors_digest((tmp_path / "w").read_bytes(), "w") == digest


def test_order_in_the_file_and_free_text_do_not_count() -> None:
    swapped = {
        "__metadata__": {"note": "1.5"},
        "b": {**TENSORS["b"], "data_offsets": [0, 8]},
        "a": {**TENSORS["a"], "data_offsets": [8, 16]},
    }
    values = bytes(range(16))
    assert tensors_digest(file(swapped, values[8:] + values[:8]), "w") == tensors_digest(file(TENSORS), "w")


def test_every_bit_of_a_tensor_counts() -> None:
    found = {tensors_digest(file(TENSORS, (1 << at).to_bytes(16, "little")), "w") for at in range(128)}
    assert len(found) == 128
    assert tensors_digest(file(changed("a", shape=[1, 2])), "w") != tensors_digest(file(TENSORS), "w")


def test_a_name_cannot_hold_another_tensors_line() -> None:
    one, entry = {"dtype": "F32", "shape": [1]}, {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    two = file({"a": {**one, "data_offsets": [0, 4]}, "b": {**one, "data_offsets": [4, 8]}}, b"wxyzWXYZ")
    assert len(tensors_digest(two, "w")) == 64
    with pytest.raises(
        DamagedError, match=r"^w: a tensor's name is not 1 to 200 characters from ! to ~: 'a F32 1\\nwx"
    ):
        tensors_digest(file({"a F32 1\nwxyzb": entry}, b"WXYZ"), "w")


BROKEN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "cut length": lambda: file(TENSORS)[:7],
    "cut header": lambda: file(TENSORS)[:40],
    "cut values": lambda: file(TENSORS)[:-1],
    "more values": lambda: file(TENSORS) + b"x",
    "gap": lambda: file(changed("b", data_offsets=[9, 17]), bytes(17)),
    "overlap": lambda: file(changed("b", data_offsets=[0, 8])),
    "size": lambda: file(changed("a", shape=[3])),
    "negative": lambda: file(changed("a", shape=[-1, -2])),
    "boolean": lambda: file(changed("a", shape=[True, 2])),
    "no list": lambda: file(changed("a", shape=2)),
    "many dimensions": lambda: file(changed("b", shape=[1] * 65)),
    "empty and wide": lambda: file({"c": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}, b""),
    "empty and wider": lambda: file({"c": {"dtype": "F32", "shape": [0, 2**70], "data_offsets": [0, 0]}}, b""),
    "dtype": lambda: file(changed("a", dtype="F16")),
    "list as dtype": lambda: file(changed("a", dtype=["F32"])),
    "float offset": lambda: file(changed("a", data_offsets=[0, 8.0])),
    "three offsets": lambda: file(changed("a", data_offsets=[0, 8, 16])),
    "lacks shape": lambda: file({"a": {"dtype": "F32", "data_offsets": [0, 16]}}),
    "twice": lambda: file(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32"}}'),
    "deep": lambda: file(b"[" * 100_000),
    "digits": lambda: file(b'{"a":' + b"9" * 5000 + b"}"),
    "list": lambda: file([]),
    "text": lambda: file(b"\xff\xfe"),
    "no name": lambda: file({"": TENSORS["a"], "b": TENSORS["b"]}),
    "name of 201": lambda: file({"a" * 201: TENSORS["a"], "b": TENSORS["b"]}),
    "name with a space": lambda: file({"a b": TENSORS["a"], "b": TENSORS["b"]}),
    "name and line feed": lambda: file({"a\n": TENSORS["a"], "b": TENSORS["b"]}),
    "half a character": lambda: file(b'{"\\ud800":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    "header of 2 MiB": lambda: file(b" " * (2 << 20)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_lies_about_its_tensors_is_refused(name: str) -> None:
    assert np.frombuffer(file(TENSORS), np.uint8).size  # the honest one is read
    with pytest.raises(DamagedError, match=r"^w: "):
        tensors_digest(BROKEN[name](), "w")
