"""A kept victim: what training made of it, in one file, from which its network comes back.

A head on a frozen extractor is an array file of `weight` [C, D] and `bias` [C] whose record names the extractor by its
digest. Any other victim is a weights file like those of `train`, with its record as pretraining.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import torch
from pydantic import ValidationError, model_validator
from torch import Tensor

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError
from poisonsets.manifests.files import array_file, canonical_json
from poisonsets.manifests.files.safetensors_header import ArraySpec
from poisonsets.manifests.records.fields import Decimal, Index, Name, first_fault
from poisonsets.victims.networks import Classifier, NetworkSpec, skeleton
from poisonsets.victims.networks.shape import Shape
from poisonsets.victims.networks.weights import Weights, arrays_of, load_weights, save_weights, tensors_of
from poisonsets.victims.results.job import JobRecord

Role: TypeAlias = Literal["poisoned", "control"]
FORMAT: Final = "poisonset-victim/1"
_REMEDY: Final = "Remove the file and score again with --keep-victims and --resume"
_SHAPE: Final = ("network", "width", "input")


class VictimRecord(JobRecord):
    """Which victim of which job a file holds.

    Attributes:
        role: trained on the poisons, or the clean control beside it.
        network, width, input: of its network, which is the extractor's where it has one.
        features: D, what the head takes; None where the file holds the whole network.

    Raises:
        ValueError: pydantic's ValidationError where a field is out of range, the job is that of other fields, or a head
            has no extractor.
    """

    format: Literal["poisonset-victim/1"] = FORMAT
    role: Role
    network: Name
    width: Decimal
    input: Index | None = None
    features: Index | None = None

    @model_validator(mode="after")
    def _has_its_extractor(self) -> Self:
        if self.features is not None and self.extractor is None:
            raise ValueError("a head alone, and no extractor")
        return self

    @property
    def specs(self) -> dict[str, ArraySpec]:
        """The arrays of a head's file; empty for a whole network."""
        if self.features is None:
            return {}
        classes = len(self.victim_classes)
        return {"weight": ArraySpec("F32", (classes, self.features)), "bias": ArraySpec("F32", (classes,))}


@dataclass(frozen=True, eq=False)
class StoredVictim:
    """What a victim's file holds: its record, and a head's tensors or the whole network."""

    record: VictimRecord
    holds: dict[str, Tensor] | Classifier

    def network(self, path: Path, extractor: Weights | None) -> Classifier:
        """As `load_victim`; `path` names the file in a refusal."""
        if isinstance(self.holds, Classifier):
            return self.holds
        record = self.record
        wanted = f"a head on the {Shape(record.network, record.width, record.input)} of digest {record.extractor}"
        if extractor is None:
            raise MissingError(f"{path}: {wanted}, and no extractor was given", "Give it: load_weights(FILE)")
        if extractor.digest != record.extractor:
            raise MissingError(
                f"{path}: {wanted}, {extractor.path} has {extractor.digest}", "Give the extractor it was scored with"
            )
        network = skeleton(replace(extractor.network.spec, classes=len(record.victim_classes)))
        head = {f"head.{name}": tensor for name, tensor in self.holds.items()}
        network.load_state_dict(extractor.network.state_dict() | head, assign=True)
        return network.eval()


def write_victim(
    path: Path, record: VictimRecord, state: Mapping[str, Tensor], *, spec: NetworkSpec, base: Base
) -> None:
    """Write a victim, whole or not at all, in place of one there; folders above are made.

    Bytes are equal for equal inputs.

    Args:
        path: the file.
        record: which victim it is.
        state: of its head where the record has features, else of the whole network.
        spec: of the whole network.
        base: what it was trained on.

    Raises:
        MissingError: the folder or the disk refuses it.
        ValueError: the tensors are not of the shapes that the record says.
    """
    if record.features is None:
        network = skeleton(spec)
        network.load_state_dict(dict(state), assign=True)
        said = record.model_dump(mode="json", exclude={*_SHAPE, "features"})
        trained_on = {"base": base.name, "train": base.train.digest, "side": list(base.train.side)}
        names = [base.classes[label] for label in record.victim_classes]
        classes = record.victim_classes
        save_weights(path, network, said, trained_on, classes=classes, class_names=names, overwrite=True)
        return
    arrays = arrays_of(state)
    if (specs := {name: ArraySpec.of(array) for name, array in arrays.items()}) != record.specs:
        raise ValueError(f"a head of {specs}, the record says {record.specs}")
    array_file.write(path, record.model_dump(mode="json"), arrays)


def load_victim(path: Path, extractor: Weights | None = None) -> Classifier:
    """The network of a victim that scoring kept, in eval mode on the CPU.

    Its outputs are in the order of the record's `victim_classes`.

    Args:
        path: `RESULTS/victims/JOB-poisoned.safetensors`, or `-control`.
        extractor: where the file holds a head, the frozen network that it was trained on, at its input size.

    Raises:
        MissingError: there is no such file, or a head's extractor is not given or is another one.
        DamagedError: it is no victim, or was changed since it was written.
    """
    return read_victim(path).network(path, extractor)


def read_victim(path: Path) -> StoredVictim:
    """What a victim's file holds, after all it claims is checked.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is no victim, or was changed since it was written.
    """
    stated, _ = array_file.read_record(path, limit=limits.FILE_BYTES, remedy=_REMEDY)
    return _read_head(path) if stated.get("format") == FORMAT else _read_network(path)


def holds_head(path: Path) -> bool:
    """Whether a file says that it is the head of a victim; False, too, where it cannot be read."""
    try:
        stated, _ = array_file.read_record(path, limit=limits.FILE_BYTES, remedy=_REMEDY)
    except PoisonsetsError:
        return False
    return stated.get("format") == FORMAT


def _read_head(path: Path) -> StoredVictim:
    file = array_file.read(path, partial(_head_specs, path), limit=limits.FILE_BYTES, remedy=_REMEDY)
    tensors = tensors_of(file.arrays)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise DamagedError(f"{path}: the head holds values that are not finite", _REMEDY)
    return StoredVictim(_record(file.record, path), tensors)


def _head_specs(path: Path, stated: dict[str, Any]) -> dict[str, ArraySpec]:
    record = _record(stated, path)
    if record.features is None:
        raise DamagedError(f"{path}: a head, and its record has no features")
    return record.specs


def _read_network(path: Path) -> StoredVictim:
    try:
        weights = load_weights(path)
    except DamagedError as error:
        raise DamagedError(error.message, _REMEDY) from error
    shape = {name: weights.record.get(name) for name in _SHAPE}
    record = _record(weights.record["pretraining"] | shape, path)
    if record.features is not None or tuple(weights.record["classes"]) != record.victim_classes:
        raise DamagedError(f"{path}: not the network of the victim that its record names", _REMEDY)
    return StoredVictim(record, weights.network)


def _record(stated: dict[str, Any], path: Path) -> VictimRecord:
    try:
        # From JSON, where a list may be a tuple, though everything else is strict.
        return VictimRecord.model_validate_json(canonical_json.dumps(stated))
    except ValidationError as error:
        raise DamagedError(f"{path}: not the record of a victim ({first_fault(error)})", _REMEDY) from error
