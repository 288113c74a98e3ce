from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes

from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import canonical_json
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.weights import load_weights, save_weights, weights_digest

MEAN, STD = ("0.123456", "0.5", "0.5"), ("0.25", "0.25", "1.000000")
PRETRAINING = {"classes": [4, 7], "epochs": 3}


def network(seed: int = 0, width: str = "0.0625") -> Classifier:
    return build("convnet", 2, width, MEAN, STD, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_weights(path, network(), PRETRAINING, {"base": "tiny", "side": [12, 12]})
    return path


def digest_of(tensors: dict[str, torch.Tensor]) -> str:
    """The digest as the docstring of `weights_digest` puts it."""
    kinds = {torch.float32: "F32", torch.int64: "I64", torch.float64: "F64"}
    digest = hashlib.sha256(b"weights/1\n")
    for name in sorted(tensors):
        shape = ",".join(map(str, tensors[name].shape))
        digest.update(f"{name} {kinds[tensors[name].dtype]} {shape}\n".encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def rewrite(path: Path, change: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> None:
    """Write the file again, well formed, with another record or other tensors."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    record = json.loads(header["__metadata__"]["poisonsets"]) | change
    del record["checksum"]
    if tensors:
        record["digest"] = digest_of(parse_tensors(data) | tensors)
    record["checksum"] = hashlib.sha256(canonical_json.dumps(record)).hexdigest()
    metadata = {"poisonsets": canonical_json.dumps(record).decode()}
    path.write_bytes(tensor_bytes(parse_tensors(data) | (tensors or {}), metadata=metadata))


def test_a_network_comes_back(saved: Path) -> None:
    wanted = network().eval()
    weights = load_weights(saved)
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(weights.network(images), wanted(images))
    assert not weights.network.training
    assert weights.network.spec == wanted.spec
    assert weights.digest == weights_digest(wanted) == weights_digest(weights.network)
    assert weights.digest == digest_of(wanted.state_dict())
    assert weights.record["classes"] == [4, 7]
    assert weights.record["pretraining"] == PRETRAINING
    assert weights.side == (12, 12)


def test_equal_inputs_give_equal_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_weights(again, load_weights(saved).network, PRETRAINING, {"side": [12, 12], "base": "tiny"})
    assert again.read_bytes() == saved.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "weights.safetensors"]


def test_the_digest_sees_every_tensor_and_no_layout() -> None:
    wanted = weights_digest(network())
    assert weights_digest(network().to(memory_format=torch.channels_last)) == wanted
    for name in network().state_dict():
        changed = network()
        tensor = changed.state_dict()[name]
        tensor.view(-1)[0] += 1
        assert weights_digest(changed) != wanted, name


def test_an_existing_file_is_kept_unless_told(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(MissingError, match="exists already"):
        save_weights(saved, network(1), PRETRAINING, {})
    assert saved.read_bytes() == before
    save_weights(saved, network(1), PRETRAINING, {}, overwrite=True)
    assert load_weights(saved).digest == weights_digest(network(1))


def test_labels_must_be_one_for_each_output(tmp_path: Path) -> None:
    for classes in ([], [1], [1, 1], [1, 2, 3]):
        with pytest.raises(UsageError, match="labels"):
            save_weights(tmp_path / "w", network(), {"classes": classes}, {})


def test_no_flipped_byte_goes_unnoticed(saved: Path) -> None:
    data = saved.read_bytes()
    for place in [*range(0, 1200, 37), *range(1200, len(data), len(data) // 40), len(data) - 1]:
        saved.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(DamagedError) as caught:
            load_weights(saved)
        assert saved.name in str(caught.value)


def test_no_cut_goes_unnoticed(saved: Path) -> None:
    data = saved.read_bytes()
    for length in (0, 4, 8, 9, 500, len(data) - 1):
        saved.write_bytes(data[:length])
        with pytest.raises(DamagedError, match=saved.name):
            load_weights(saved)
    saved.write_bytes(data + b"\0")
    with pytest.raises(DamagedError, match=saved.name):
        load_weights(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"network": "no-such-net"},
        {"network": "resnet18"},
        {"width": "16"},
        {"width": "1e9"},
        {"width": 1},
        {"classes": [1, 2, 3]},
        {"classes": [1, 1]},
        {"classes": [True, False]},
        {"classes": list(range(50_000))},
        {"mean": ["0.5", "0.5", "0.5"]},
        {"mean": ["nan", "0.5", "0.5"]},
        {"std": ["0.25", "0.25"]},
        {"pretraining": []},
        {"digest": "0" * 64},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_record_that_lies_is_refused(saved: Path, change: dict[str, Any]) -> None:
    rewrite(saved, change)
    with pytest.raises(DamagedError, match=saved.name):
        load_weights(saved)


@pytest.mark.parametrize(
    "tensors",
    [
        {"head.bias": torch.zeros(3)},
        {"head.bias": torch.zeros(2, dtype=torch.float64)},
        {"head.bias": torch.tensor([0.0, float("nan")])},
        {"head.bias": torch.tensor([0.0, float("inf")])},
        {"head.extra": torch.zeros(2)},
        {"std": torch.zeros(1, 3, 1, 1)},
    ],
    ids=str,
)
def test_wrong_tensors_are_refused(saved: Path, tensors: dict[str, torch.Tensor]) -> None:
    rewrite(saved, {}, tensors)
    with pytest.raises(DamagedError, match=saved.name):
        load_weights(saved)


def test_other_peoples_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(tensor_bytes({"a": torch.zeros(2)}))
    with pytest.raises(DamagedError, match="other"):
        load_weights(path)


def test_only_plain_files_are_opened(saved: Path, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(saved)
    os.mkfifo(pipe)
    for path in (link, pipe):
        with pytest.raises(DamagedError):
            load_weights(path)
    with pytest.raises(MissingError, match="absent"):
        load_weights(tmp_path / "absent")


@pytest.mark.parametrize("what", ["pretraining", "provenance"])
@pytest.mark.parametrize(
    "statement",
    [
        {"nested": {"a": 1}},
        {"nested": [[1]]},
        {"texts": ["a"]},
        {"negative": -1},
        {"negatives": [-1]},
        {"large": 2**53 + 1},
        {"long": "x" * 4097},
        {"two words": 1},
        {"": 1},
        {"k" * 201: 1},
    ],
    ids=lambda statement: str(statement)[:30],
)
def test_statements_that_no_manifest_takes_are_refused(saved: Path, what: str, statement: dict[str, Any]) -> None:
    rewrite(saved, {what: statement})
    with pytest.raises(DamagedError, match=rf"{saved.name}.*{what}\..*: "):
        load_weights(saved)
    with pytest.raises(UsageError, match=rf"{what}\..*: "):
        save_weights(
            saved, network(), **({"pretraining": PRETRAINING, "provenance": {}} | {what: statement}), overwrite=True
        )


def test_statements_that_manifests_take_are_read(saved: Path) -> None:
    statement = {"a.b/c-1": None, "flag": True, "text": "x" * 4096, "most": 2**53, "list": [0, 2**53], "none": []}
    rewrite(saved, {"provenance": statement})
    assert load_weights(saved).record["provenance"] == statement
