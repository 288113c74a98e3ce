"""Weights and results files that lie about header, digest or numbers, or hold text that a terminal would obey."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from hostile.documents import ESCAPES, HTML
from hostile.pickles import SYSTEM

from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.files.safetensors_header import tensors_digest

Tensors = dict[str, tuple[str, list[int], bytes]]
# The tensors of the convnet of width 0.125 for two classes, as the honest file shows.
SHAPES = {
    "body.hidden.bias": [8],
    "body.hidden.weight": [8, 32],
    **{
        f"body.stages.{stage}.{name}": shape
        for stage, (out, into) in enumerate(((2, 3), (4, 2), (8, 4)))
        for name, shape in {
            "bn.bias": [out],
            "bn.num_batches_tracked": [],
            "bn.running_mean": [out],
            "bn.running_var": [out],
            "bn.weight": [out],
            "conv.weight": [out, into, 3, 3],
        }.items()
    },
    "head.bias": [2],
    "head.weight": [2, 8],
    "mean": [1, 3, 1, 1],
    "std": [1, 3, 1, 1],
}


def tensors() -> Tensors:
    """Every value one half, every count zero."""
    found: Tensors = {}
    for name, shape in SHAPES.items():
        count = int(np.prod(shape, dtype=np.int64))
        counts = name.endswith("tracked")
        values = np.zeros(count, "<i8") if counts else np.full(count, 0.5, "<f4")
        found[name] = ("I64" if counts else "F32", shape, values.tobytes())
    return found


def written(content: Tensors, record: dict[str, Any] | None, **entries: Any) -> bytes:
    """A safetensors file; `entries` replaces parts of its header."""
    header: dict[str, Any] = (
        {} if record is None else {"__metadata__": {"poisonsets": canonical_json.dumps(record).decode()}}
    )
    at = 0
    for name, (kind, shape, data) in content.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    header |= entries
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, _, data in content.values())


def record(content: Tensors, **changes: Any) -> dict[str, Any]:
    """The record of an honest file, changed."""
    found: dict[str, Any] = {
        "network": "convnet",
        "width": "0.125",
        "classes": [0, 1],
        "mean": ["0.5"] * 3,
        "std": ["0.5"] * 3,
        "pretraining": {"classes": [0, 1]},
        "provenance": {"base": "golden"},
        "digest": tensors_digest(written(content, None), "a draft"),
        **changes,
    }
    found["checksum"] = hashlib.sha256(canonical_json.dumps(found)).hexdigest()
    return found


def honest() -> bytes:
    return written(tensors(), record(tensors()))


def saying(**changes: Any) -> bytes:
    return written({}, record({}, **changes))


def valued(name: str, value: float) -> bytes:
    """One number of one tensor changed, with the digest that fits."""
    content = tensors()
    kind, shape, data = content[name]
    content[name] = (kind, shape, np.float32(value).tobytes() + data[4:])
    return written(content, record(content))


def _two_networks_of_one_digest() -> tuple[Tensors, Tensors]:
    """Two tensors, and one tensor whose name holds the first's values and the second's line."""
    two = {"a": ("F32", [1], b"wxyz"), "b": ("F32", [1], b"WXYZ")}
    return two, {"a F32 1\nwxyzb": ("F32", [1], b"WXYZ")}


def _header(text: bytes, body: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + body


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
WEIGHTS: dict[str, Callable[[], bytes]] = {
    "not-a-number": lambda: valued("head.weight", float("nan")),
    "infinite": lambda: valued("body.hidden.weight", float("-inf")),
    "other-digest": lambda: written(tensors(), record(tensors(), digest="0" * 64)),
    "record-edited": lambda: honest().replace(b"golden", b"g0lden"),
    "header-of-2-to-the-63": lambda: (2**63).to_bytes(8, "little") + b"{}",
    "header-of-100-MB": lambda: (100_000_000).to_bytes(8, "little") + b"{}",
    "header-of-0": lambda: bytes(8) + b"{}",
    "header-longer-than-the-file": lambda: (50).to_bytes(8, "little") + b"{}",
    "header-no-json": lambda: _header(b"{'a': 1}"),
    "header-a-list": lambda: _header(b"[]"),
    "header-deep": lambda: _header(b"[" * 5_000),
    "header-with-a-key-twice": lambda: _header(
        b'{"__metadata__":{"poisonsets":"a"},"__metadata__":{"poisonsets":"b"}}'
    ),
    "no-record": lambda: written(tensors(), None),
    "record-no-object": lambda: _header(b'{"__metadata__":{"poisonsets":"[1]\\n"}}'),
    "record-not-canonical": lambda: _header(b'{"__metadata__":{"poisonsets":"{\\"a\\": 1}"}}'),
    "metadata-a-number": lambda: _header(b'{"__metadata__":7}'),
    "unknown-network": lambda: saying(network="../../evil"),
    "network-of-width-1000000": lambda: saying(width="1000000"),
    "network-of-width-nan": lambda: saying(width="nan"),
    "network-of-width-0": lambda: saying(width="0"),
    "classes-negative": lambda: saying(classes=[-1, 0]),
    "classes-many": lambda: saying(classes=list(range(2_000))),
    "classes-twice": lambda: saying(classes=[1, 1]),
    "mean-infinite": lambda: saying(mean=["1e999"] * 3),
    "std-0": lambda: saying(std=["0"] * 3),
    "pretraining-of-floats": lambda: saying(pretraining={"rate": "0.5", "deep": {"a": 1}}),
    "pretraining-of-escapes": lambda: saying(pretraining={ESCAPES: 1}),
    "tensor-missing": lambda: written({k: v for k, v in tensors().items() if k != "mean"}, record(tensors())),
    "tensor-too-many": lambda: written({**tensors(), "zzz": ("F32", [1], bytes(4))}, record(tensors())),
    "tensor-of-another-shape": lambda: written(tensors(), record(tensors()), mean={**ENTRY, "shape": [3]}),
    "tensor-of-another-type": lambda: written(tensors(), record(tensors()), mean={**ENTRY, "dtype": "BF16"}),
    "tensor-of-no-type": lambda: written(tensors(), record(tensors()), mean={**ENTRY, "dtype": "OBJECT"}),
    "tensor-of-2-to-the-62": lambda: written({}, record({}), a={**ENTRY, "shape": [2**62], "data_offsets": [0, 2**64]}),
    "tensors-overlap": lambda: written(
        tensors(), record(tensors()), std={**ENTRY, "shape": [1, 3, 1, 1], "data_offsets": [0, 12]}
    ),
    "tensors-leave-a-gap": lambda: honest() + bytes(8),
    "offsets-backwards": lambda: written({}, record({}), a={**ENTRY, "data_offsets": [4, 0]}),
    "name-of-another-tensors-line": lambda: written(_two_networks_of_one_digest()[1], record({})),
    "name-of-escapes": lambda: written({ESCAPES: ("F32", [1], bytes(4))}, record({})),
    "cut": lambda: honest()[:-100],
    "a-pickle": lambda: SYSTEM,
    "empty": lambda: b"",
}
JOB = {
    "content_digest": "c" * 64,
    "trial": 0,
    "victim_classes": [0, 1],
    "protocol": "digits-transfer/convnet",
    "protocol_version": 1,
    "extractor": None,
    "victim_seed": 0,
}
ROW: dict[str, Any] = {
    "network": "convnet",
    "width": "0.125",
    "targets": [{"label": 0, "adversarial_label": 1, "predicted_poisoned": 1, "predicted_control": 0}],
    "success": True,
    "control": False,
    "source_images": 0,
    "source_poisoned": 0,
    "source_control": 0,
    "control_rows": "d" * 64,
    "training_images": 40,
    "poisons": 4,
    "clean_correct": 10,
    "clean_images": 20,
    "control_correct": 11,
    "threat_level": "white-box",
    "seconds": "1.000",
    "device": "cpu",
    "peak_memory_bytes": 1,
}


def row(*, job: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """A row with the right checksum, under the key of its own job."""
    named = JOB | (job or {})
    key = hashlib.sha256(canonical_json.dumps(["job/3", *named.values()])).hexdigest()
    return canonical_json.checksummed({"job": key, **named, **ROW, **changes})


def _spelled(old: bytes, new: bytes) -> bytes:
    data = row()
    assert old in data
    return data.replace(old, new, 1)


ROWS: dict[str, Callable[[], bytes]] = {
    "hits-beyond-the-images": lambda: row(source_poisoned=1),
    "success-against-its-targets": lambda: row(success=False),
    "control-against-its-targets": lambda: row(control=True),
    "half-a-control": lambda: row(control=None),
    "correct-beyond-the-images": lambda: row(clean_correct=21),
    "poisons-beyond-the-set": lambda: row(poisons=41),
    "negative": lambda: row(poisons=-1),
    "number-2-to-the-63": lambda: row(peak_memory_bytes=2**63),
    "float": lambda: _spelled(b'"poisons":4', b'"poisons":4.0'),
    "nan": lambda: _spelled(b'"poisons":4', b'"poisons":NaN'),
    "key-twice": lambda: _spelled(b'"poisons":4', b'"poisons":4,"poisons":5'),
    "boolean-for-a-number": lambda: row(poisons=True),
    "edited-without-its-checksum": lambda: _spelled(b'"clean_correct":10', b'"clean_correct":20'),
    "job-of-another-row": lambda: row().replace(b'"job":"', b'"job":"0', 1),
    "job-upwards": lambda: row(job=None).replace(b'"job":"', b'"job":"../', 1),
    "seconds-of-a-formula": lambda: row(seconds="=1+1"),
    "unknown-field": lambda: row(surprise=1),
    "a-list": lambda: b"[]\n",
    "deep": lambda: b'{"a":' * 2_000 + b"0" + b"}" * 2_000 + b"\n",
    "a-pickle": lambda: SYSTEM,
    "empty": lambda: b"",
}
SHOWN: dict[str, Callable[[], bytes]] = {
    f"row-of-{name}": lambda text=text: row(device=text, job={"protocol": text})  # type: ignore[misc]
    for name, text in {
        "html": HTML,
        "escapes": ESCAPES,
        "a-formula": "=cmd|'/C calc'!A0",
        "markup": "[bold]x[/bold] | y",
    }.items()
}
