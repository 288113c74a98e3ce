"""Network weights on disk: one safetensors file that says what it is and is checked before use.

Its record holds network, width, classes (the labels of the head's outputs), mean, std, pretraining and provenance, and
input where the network's first layer brings images to one size.
Equal networks and records give equal bytes. Nothing in a file is executed, and no tensor is allocated before its name
and shape are known to be those of the network that the file claims to hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, TypeAlias

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files import array_file, store
from poisonsets.manifests.files.safetensors_header import Arrays, ArraySpec, arrays_digest
from poisonsets.manifests.records.fields import Index, Label, Name, Strict, Text, first_fault
from poisonsets.victims.networks import Classifier, NetworkSpec, skeleton
from poisonsets.victims.networks.classifier import channel_values

_REMEDY: Final = "Get the file again, or train the network again"
_DTYPES: Final = {torch.float32: "F32", torch.int64: "I64"}
_Number: TypeAlias = Annotated[str, Field(pattern=r"^([0-9]\.[0-9]{1,12}|[01])$")]
_Three: TypeAlias = Annotated[list[_Number], Field(min_length=3, max_length=3)]
# What manifests allow in a surrogate's pretraining, since crafting copies it there.
_Statements: TypeAlias = dict[Name, bool | Index | Text | list[Index] | None]


class _Record(Strict):
    network: str
    width: str
    classes: list[Label]
    mean: _Three
    std: _Three
    input: Annotated[int, Field(ge=1, le=limits.IMAGE_SIDE)] | None = None
    pretraining: _Statements
    provenance: _Statements
    class_names: Annotated[list[Text], Field(max_length=limits.CLASSES)] | None = None


@dataclass(frozen=True)
class Weights:
    """A network read from disk and what its file says of it.

    Attributes:
        network: in eval mode, on the CPU, nothing frozen.
        record: the file's, with the keys of the module's docstring; its input is the network's.
        digest: `weights_digest` of the network, recomputed.
        path: of the file.
        as_stored: whether that file holds this very network; not where its input size was replaced.
    """

    network: Classifier
    record: dict[str, Any]
    digest: str
    path: Path
    as_stored: bool = True

    @property
    def side(self) -> tuple[int, int] | None:
        """Height and width of the images that the network wants, those it was trained on.

        None where the file does not say, and where the network brings images of any size to its own.
        """
        if self.network.spec.input is not None:
            return None
        side = self.record["provenance"].get("side")
        return (side[0], side[1]) if isinstance(side, list) and len(side) == 2 else None

    @property
    def dataset(self) -> str | None:
        """What it was trained on: a base's name, or what was said when it was imported; None where nothing says."""
        return trained_on(self.record)

    def at_input(self, side: int) -> "Weights":
        """The same weights behind a first layer that brings images to `side` pixels: another network, another digest.

        Raises:
            UsageError: the size is out of range.
        """
        if self.network.spec.input == side:
            return self
        network = skeleton(replace(self.network.spec, input=side))
        network.load_state_dict(self.network.state_dict() | {"input": torch.tensor([side])}, assign=True)
        record = self.record | {"input": side}
        return Weights(network.eval(), record, weights_digest(network), self.path, as_stored=False)

    def file_bytes(self) -> bytes:
        """The bytes of a file of this network; a MissingError where `path` cannot be read again."""
        if self.as_stored:
            return store.read_file(self.path, limits.FILE_BYTES)
        with TemporaryDirectory() as folder:
            written = Path(folder) / "weights.safetensors"
            array_file.write(written, self.record, arrays_of(self.network.state_dict()))
            return written.read_bytes()


def trained_on(record: Mapping[str, Any]) -> str | None:
    """The `Weights.dataset` of a record."""
    for part, key in (("pretraining", "dataset"), ("provenance", "base")):
        found = record.get(part)
        if isinstance(found, dict) and isinstance(found.get(key), str):
            return str(found[key])
    return None


def weights_digest(network: Classifier) -> str:
    """The sha256 that names a network by its tensors: `arrays_digest` of its state.

    Normalisation and running statistics are tensors too; the rest of a file's record is not covered.
    """
    return arrays_digest(arrays_of(network.state_dict()))


def arrays_of(tensors: Mapping[str, Tensor]) -> Arrays:
    """Tensors as arrays for a file; tensors on the CPU share memory with them."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def tensors_of(arrays: Arrays) -> dict[str, Tensor]:
    """Arrays from a file as tensors, in memory that torch aligns.

    A kernel's last bits may depend on where its operands begin.
    """
    return {name: torch.from_numpy(array).clone() for name, array in arrays.items()}


def save_weights(
    path: Path,
    network: Classifier,
    pretraining: dict[str, Any],
    provenance: dict[str, Any],
    *,
    classes: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> str:
    """Write a network; bytes are equal for equal inputs.

    Args:
        path: the file; it is there in full or not at all.
        network: any network of `networks`, not a folded one.
        pretraining: the record of its pretraining. Keys are names as in manifests; values are None, booleans, strings
            of at most 4096 characters, integers in 0..2**53 or lists of such integers.
        provenance: what it was trained on, for instance `pretrain.provenance`; the same keys and values.
        classes: the label of each output; those of the pretraining where left out.
        class_names: of each output, where they are known; at most 4096 characters each.
        overwrite: replace an existing file.

    Returns:
        The digest of the weights.

    Raises:
        MissingError: the file exists already, or cannot be written.
        UsageError: there is not one distinct class for each output, or the pretraining or provenance holds something
            else.
    """
    labels = list(classes if classes is not None else pretraining.get("classes", ()))
    record = weights_record(network, pretraining, provenance, labels, class_names)
    if fault := _fault(record):
        raise UsageError(f"{path}: {fault}", "Use names, and integers, strings, booleans or lists")
    if len(labels) != network.spec.classes or len(set(labels)) != len(labels):
        raise UsageError(f"{path}: {len(set(labels))} class labels for a network with {network.spec.classes} outputs")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise MissingError(f"{path}: exists already", "Remove it or choose another name")
    return array_file.write(path, record, arrays_of(network.state_dict()))


def weights_record(
    network: Classifier,
    pretraining: dict[str, Any],
    provenance: dict[str, Any],
    classes: Sequence[int],
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The record of a network's file, from what `save_weights` is given; nothing is checked."""
    spec = network.spec
    record: dict[str, Any] = {
        "network": spec.name,
        "width": spec.width,
        "classes": list(classes),
        "mean": list(spec.mean),
        "std": list(spec.std),
        "pretraining": pretraining,
        "provenance": provenance,
    }
    if spec.input is not None:
        record["input"] = spec.input
    return record if class_names is None else record | {"class_names": list(class_names)}


def load_weights(path: Path, *, input: int | None = None) -> Weights:
    """Read a file that `save_weights` wrote, here or on a stranger's machine.

    Args:
        path: the file.
        input: the network's, in place of the file's; see `Weights.at_input`.

    Raises:
        UsageError: the input size is out of range.
        MissingError: there is no such file.
        DamagedError: it is a link or no regular file, too large, no safetensors file or without our record; its network
            is unknown; its pretraining or provenance holds what a manifest may not; or its tensors are not those of the
            network or of its digest.
    """
    file = array_file.read(path, partial(_specs, path), limit=limits.FILE_BYTES, remedy=_REMEDY)
    network = skeleton(_network_spec(file.record))
    network.load_state_dict(tensors_of(file.arrays), assign=True)
    _check_values(network, path)
    weights = Weights(network.eval(), file.record, file.digest, path)
    return weights if input is None else weights.at_input(input)


def _specs(path: Path, record: dict[str, Any]) -> dict[str, ArraySpec]:
    """The tensors of the network that a record describes."""
    if fault := _fault(record):
        raise DamagedError(f"{path}: not the record of a network: {fault}")
    if len(set(record["classes"])) != len(record["classes"]):
        raise DamagedError(f"{path}: its record has a class twice")
    if len(record.get("class_names") or record["classes"]) != len(record["classes"]):
        raise DamagedError(f"{path}: its record has not a name for each class")
    try:
        state = skeleton(_network_spec(record)).state_dict()
    except (PoisonsetsError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{path}: its record describes no valid network ({str(error)[:200]})") from error
    return {name: ArraySpec(_DTYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in state.items()}


def _check_values(network: Classifier, path: Path) -> None:
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DamagedError(f"{path}: tensor {name!r} holds values that are not finite", _REMEDY)
    spec = network.spec
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if not torch.equal(network.get_buffer(name), channel_values(values)):
            raise DamagedError(f"{path}: the tensor {name!r} is not {list(values)}, which the record gives", _REMEDY)
    if spec.input is not None and network.input.tolist() != [spec.input]:
        raise DamagedError(f"{path}: the tensor 'input' is not [{spec.input}], which the record gives", _REMEDY)
    if not bool((network.std > 0).all()):
        raise DamagedError(f"{path}: a standard deviation is not above 0", _REMEDY)


def _fault(record: dict[str, Any]) -> str:
    """What pydantic refuses in a record; empty where nothing."""
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        return first_fault(error)
    return ""


def _network_spec(record: dict[str, Any]) -> NetworkSpec:
    mean, std = record["mean"], record["std"]
    return NetworkSpec(
        record["network"],
        len(record["classes"]),
        record["width"],
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
        record.get("input"),
    )
