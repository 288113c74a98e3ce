"""Included surrogates: a file under a network's digest holds that network, whatever its own record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forge import Draft, check, forge, small_base, small_set

from poisonsets.manifests.files.safetensors_header import tensors_digest


def network(value: int, shape: tuple[int, ...] = (1,)) -> bytes:
    header = json.dumps({"a": {"dtype": "I64", "shape": shape, "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + value.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (network(1), ""),
        (network(2), "its tensors have digest"),
        (network(1, (1,) * 65), "a shape of more than 8 dimensions"),
        (b"no network", "not a safetensors file"),
    ],
)
def test_v107_a_surrogate_is_the_one_it_is_called(tmp_path: Path, data: bytes, message: str) -> None:
    base = small_base()
    digest = tensors_digest(network(1), "w")
    path = f"surrogates/{digest}.safetensors"

    def included(draft: Draft) -> None:
        draft.extra[path] = data
        draft.manifest["surrogates"] = [
            {"digest": digest, "network": "resnet18", "pretraining": {}, "included": True, "trials": None}
        ]

    report = check(forge(small_set(tmp_path / "honest", base), tmp_path / "set", included), base)
    found = [(one.code, one.kind, one.place) for one in report.findings]
    assert found == ([("V107", "violation", path)] if message else [])
    assert all(message in one.message for one in report.findings)
