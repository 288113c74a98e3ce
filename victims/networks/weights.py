"""Network weights on disk: one safetensors file that says what it is, and is checked before it is used.

The file's single metadata key `poisonsets` holds canonical JSON: network, width, classes (the labels the
head's outputs stand for), mean, std, pretraining, provenance, digest and checksum. Equal networks and records
give equal bytes. Nothing in a file is executed, and no tensor is allocated before its name and shape are
those of the network it claims to be.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.records.fields import Index, Name, Text
from poisonsets.victims.networks import Classifier, NetworkSpec, skeleton
from poisonsets.victims.networks.classifier import channel_values

WEIGHTS_BYTES: Final = 2 << 30
HEADER_BYTES: Final = 1 << 20
METADATA_KEY: Final = "poisonsets"
_OURS: Final = "Use a file made by `poisonsets train`"
_AGAIN: Final = "Get the file again, or train the network again"
_FIELDS: Final = {
    "network",
    "width",
    "classes",
    "mean",
    "std",
    "pretraining",
    "provenance",
    "digest",
    "checksum",
}
# What manifests allow in a surrogate's pretraining, since crafting copies it there.
_STATEMENTS: Final = TypeAdapter(dict[Name, bool | Index | Text | list[Index] | None], config=ConfigDict(strict=True))
_TYPE_NAMES: Final = {torch.float32: "F32", torch.int64: "I64"}


@dataclass(frozen=True)
class Weights:
    """A network read from disk and what its file says of it.

    Attributes:
        network: in eval mode, on the CPU, nothing frozen.
        record: the JSON document of the file, with the keys of the module's docstring.
        digest: `weights_digest` of the network, recomputed.
        path: where it was read from.
    """

    network: Classifier
    record: dict[str, Any]
    digest: str
    path: Path

    @property
    def side(self) -> tuple[int, int] | None:
        """Height and width of the images it was trained on; None where the file does not say."""
        side = self.record["provenance"].get("side")
        return (side[0], side[1]) if isinstance(side, list) and len(side) == 2 else None


def weights_digest(network: Classifier) -> str:
    """The sha256 that names a network by its tensors, wherever and however they are stored.

    Over the tensors in the order of their names: a line `name dtype shape` (dtype F32 or I64, shape with
    commas), then the little-endian values. Normalisation and running statistics are tensors too; metadata
    is not covered.
    """
    digest = hashlib.sha256(b"weights/1\n")
    for name, tensor in sorted(_tensors(network).items()):
        shape = ",".join(str(side) for side in tensor.shape)
        digest.update(f"{name} {_TYPE_NAMES[tensor.dtype]} {shape}\n".encode())
        digest.update(tensor.numpy().astype("<f4" if tensor.dtype == torch.float32 else "<i8").tobytes())
    return digest.hexdigest()


def save_weights(
    path: Path,
    network: Classifier,
    pretraining: dict[str, Any],
    provenance: dict[str, Any],
    *,
    classes: Sequence[int] | None = None,
    overwrite: bool = False,
) -> str:
    """Write a network; bytes are equal for equal inputs.

    Args:
        path: the file to write; it is there in full or not at all.
        network: any network of `networks`, not a folded one.
        pretraining: the record of the pretraining it was trained with. Keys are names as in manifests; values are None,
            booleans, strings of at most 4096 characters, integers in 0..2**53 or lists of such integers.
        provenance: what it was trained on, for instance `training.provenance`; the same keys and values.
        classes: the label of each output; those of the pretraining where left out.
        overwrite: replace an existing file.

    Returns:
        The digest of the weights.

    Raises:
        MissingError: the file exists already, or cannot be written.
        UsageError: classes are unknown or not one for each output, or the pretraining or provenance holds something
            else.
    """
    for what, statements in (("pretraining", pretraining), ("provenance", provenance)):
        if fault := _fault(statements):
            raise UsageError(f"{path}: {what} {fault}", "Use names, and integers, strings, booleans or lists")
    labels = list(classes if classes is not None else pretraining.get("classes", ()))
    spec = network.spec
    if len(labels) != spec.classes or len(set(labels)) != len(labels):
        raise UsageError(f"{path}: {len(set(labels))} class labels for a network with {spec.classes} outputs")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise MissingError(f"{path}: exists already", "Remove it or choose another name")
    digest = weights_digest(network)
    record = {
        "network": spec.name,
        "width": spec.width,
        "classes": labels,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "pretraining": pretraining,
        "provenance": provenance,
        "digest": digest,
    }
    record["checksum"] = _checksum(record)
    data = tensor_bytes(_tensors(network), metadata={METADATA_KEY: canonical_json.dumps(record).decode("ascii")})
    store.write_file(path, data)
    return digest


def load_weights(path: Path) -> Weights:
    """Read a file that `save_weights` wrote, here or on a stranger's machine.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is a link or no regular file, too large, no safetensors file, without our record,
            of an unknown network, its pretraining or provenance holds what a manifest may not, or its tensors are
            not those of the network or not those its digest names.
    """
    data = store.read_file(path, WEIGHTS_BYTES, remedy=_OURS)
    record, shapes = _header(data, path)
    try:
        network = skeleton(_spec(record))
    except (PoisonsetsError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{path}: describes no network that can be built ({str(error)[:200]})", _OURS) from error
    wanted = {name: (_TYPE_NAMES[t.dtype], list(t.shape)) for name, t in network.state_dict().items()}
    if shapes != wanted:
        name = next(n for n in sorted(shapes | wanted) if shapes.get(n) != wanted.get(n))
        raise DamagedError(
            f"{path}: tensor {name[:80]!r} is {shapes.get(name)}, wanted {wanted.get(name)} "
            f"for {network.spec.name} of width {network.spec.width}",
            _OURS,
        )
    try:
        tensors = parse_tensors(data)
    except SafetensorError as error:
        raise DamagedError(f"{path}: not a readable safetensors file ({str(error)[:200]})", _AGAIN) from error
    network.load_state_dict(tensors, assign=True)
    _check_values(network, record, path)
    return Weights(network.eval(), record, record["digest"], path)


def _check_values(network: Classifier, record: dict[str, Any], path: Path) -> None:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DamagedError(f"{path}: tensor {name!r} holds values that are not finite", _AGAIN)
    spec = network.spec
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if not torch.equal(network.get_buffer(name), channel_values(values)):
            raise DamagedError(f"{path}: the tensor {name!r} is not {list(values)}, which the record gives", _AGAIN)
    if not bool((network.std > 0).all()):
        raise DamagedError(f"{path}: a standard deviation is not above 0", _AGAIN)
    found = weights_digest(network)
    if found != record["digest"]:
        raise DamagedError(
            f"{path}: the weights have digest {found[:12]}, the record says {record['digest'][:12]}",
            _AGAIN,
        )


def _tensors(network: Classifier) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _header(data: bytes, path: Path) -> tuple[dict[str, Any], dict[str, tuple[str, list[int]]]]:
    """Our record, and the dtype and shape of each tensor, without touching a tensor."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 0 < length <= min(HEADER_BYTES, len(data) - 8):
        raise DamagedError(f"{path}: not a safetensors file, or one with a header over {HEADER_BYTES} bytes", _OURS)
    try:
        header = json.loads(data[8 : 8 + length])
        text = header.pop("__metadata__")[METADATA_KEY]
        shapes = {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()}
        record = canonical_json.loads(text.encode("ascii"), f"{path}: metadata")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path}: holds no weights written by poisonsets", _OURS) from error
    if not isinstance(record, dict) or set(record) != _FIELDS or not _plain(record):
        raise DamagedError(f"{path}: its record lacks a field or has one of the wrong kind", _OURS)
    for what in ("pretraining", "provenance"):
        if fault := _fault(record[what]):
            raise DamagedError(f"{path}: the record's {what} {fault}", _OURS)
    if record["checksum"] != _checksum(record):
        raise DamagedError(f"{path}: its record is not what its checksum names", _AGAIN)
    return record, shapes


def _checksum(record: dict[str, Any]) -> str:
    """The sha256 of everything else in the record, which the digest of the weights does not cover."""
    rest = {key: value for key, value in record.items() if key != "checksum"}
    return hashlib.sha256(canonical_json.dumps(rest)).hexdigest()


def _fault(statements: dict[str, Any]) -> str:
    """What in a pretraining or provenance manifests would not take; empty where there is nothing."""
    try:
        _STATEMENTS.validate_python(statements)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        return f"has {str(fault['loc'][0])[:80]!r}: {fault['msg'][:100]}"
    return ""


def _plain(record: dict[str, Any]) -> bool:
    kinds = {
        "network": str,
        "width": str,
        "classes": list,
        "pretraining": dict,
        "provenance": dict,
        "digest": str,
        "checksum": str,
    }
    if not all(type(record[name]) is kind for name, kind in kinds.items()):
        return False
    labels = record["classes"]
    if any(type(label) is not int or label < 0 for label in labels) or len(set(labels)) != len(labels):
        return False
    numbers = [record["mean"], record["std"]]
    return all(
        type(row) is list and len(row) == 3 and all(type(v) is str and _NUMBER.fullmatch(v) for v in row)
        for row in numbers
    )


_NUMBER: Final = re.compile(r"[0-9]\.[0-9]{1,12}|[01]")


def _spec(record: dict[str, Any]) -> NetworkSpec:
    mean, std = record["mean"], record["std"]
    return NetworkSpec(
        record["network"],
        len(record["classes"]),
        record["width"],
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
    )
