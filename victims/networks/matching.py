"""Tensors of others put into a network of ours: matched by name or by order, with any head, misfits told key by key.

A library's network takes the library's own names; one of ours takes the names of its tensors in a weights file, with or
without `body.`. The head goes with the body where its input fits, whatever number of classes it has, or is dropped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.victims.networks import Classifier, NetworkSpec, skeleton
from poisonsets.victims.networks.classifier import channel_values
from poisonsets.victims.networks.library import LibraryBody

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
COUNTER: Final = "num_batches_tracked"
"""What batch normalisation counts; files from before PyTorch 0.4.1 lack it, and nothing here uses it."""
AUXILIARY: Final = ("AuxLogits.", "aux1.", "aux2.")
"""Where Inception networks keep classifiers that are used in training alone; ours have none."""
TOLD: Final = 3  # keys of each kind of misfit that an error names
_KINDS: Final = {torch.float32: "f", torch.int64: "iu"}


class MisfitError(UsageError):
    """Tensors that are not those of a network.

    Attributes:
        rows: for each key that does not fit what is wrong with it, and the key with its shapes.
    """

    def __init__(self, message: str, remedy: str, rows: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message, remedy)
        self.rows = rows


@dataclass(frozen=True)
class FilledNetwork:
    """A network with another's weights.

    Attributes:
        network: in eval mode, on the CPU.
        head: whether its head came with them; else it has one output, whose weights are 0.
        left_out: keys of the file that were not used.
    """

    network: Classifier
    head: bool
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Match:
    """For each tensor of ours the key of the file that fills it, and what fits nothing."""

    keys: dict[str, str]
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()

    @property
    def faults(self) -> dict[str, tuple[str, ...]]:
        """The keys of each kind of misfit."""
        kinds = {"missing": self.missing, "left over": self.left_over, "of another shape or type": self.misshapen}
        return {kind: keys for kind, keys in kinds.items() if keys}

    @property
    def count(self) -> int:
        return sum(map(len, self.faults.values()))


def filled_network(
    spec: NetworkSpec, tensors: Tensors, where: str, *, by_order: bool = False, ordered: bool = True, head: bool = True
) -> FilledNetwork:
    """A network with the tensors of a state dict.

    Args:
        spec: the network; the number of its classes is taken from the head in the file.
        tensors: by the file's keys, in the file's order; floats of any width, integers for counters.
        where: the file's name, for errors.
        by_order: match the file's tensors with the network's by order and shape, whatever they are called.
        ordered: whether the file keeps the order of layers.
        head: keep the file's head, where it has one.

    Raises:
        MisfitError: tensors are missing, left over, or of another shape or type.
        UsageError: the order is asked of a file that does not keep it, or the head has too many classes.
        DamagedError: a value is not finite.
    """
    if by_order and not ordered:
        raise UsageError(f"{where}: a safetensors file does not keep the order of layers", "Leave out --by-order")
    draft = skeleton(replace(spec, classes=1))
    match = _by_order(draft, tensors) if by_order else _by_name(draft, tensors, head=head)
    if match.count:
        raise _misfit(match, draft, tensors, where, offer=ordered and not by_order)
    kept = head and "head.weight" in match.keys
    classes = len(tensors[match.keys["head.weight"]]) if kept else 1
    if not 1 <= classes <= limits.CLASSES:
        raise UsageError(f"{where}: a head of {classes} classes, wanted 1 to {limits.CLASSES}")
    network = skeleton(replace(spec, classes=classes))
    keys = {name: key for name, key in match.keys.items() if kept or not name.startswith("head.")}
    state = {
        name: _filled(ours, tensors[keys[name]], keys[name], where)
        if name in keys
        else torch.zeros_like(ours, device="cpu")
        for name, ours in _weights_of(network).items()
    }
    network.load_state_dict(_constants(network) | state, assign=True)
    used = set(keys.values())
    return FilledNetwork(network.eval(), kept, tuple(key for key in tensors if key not in used))


def _weights_of(network: Classifier) -> dict[str, torch.Tensor]:
    """The tensors that training makes, by their names in our files."""
    return {name: tensor for name, tensor in network.state_dict().items() if name.startswith(("body.", "head."))}


def _constants(network: Classifier) -> dict[str, torch.Tensor]:
    """The tensors that the spec fixes."""
    spec = network.spec
    side = {} if spec.input is None else {"input": torch.tensor([spec.input])}
    return {"mean": channel_values(spec.mean), "std": channel_values(spec.std), **side}


def _foreign_names(network: Classifier) -> Iterator[dict[str, str]]:
    """For each tensor of ours the key that a file may call it by, in each way that files do."""
    names, body = list(_weights_of(network)), network.body
    if isinstance(body, LibraryBody):
        places = {"body.model.": "", "head.": f"{body.head_place}."}
        yield {name: _moved(name, places) for name in names}
    yield {name: _moved(name, {"body.": ""}) for name in names}
    yield {name: name for name in names}


def _moved(name: str, places: Mapping[str, str]) -> str:
    for ours, theirs in places.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _by_name(network: Classifier, tensors: Tensors, *, head: bool) -> _Match:
    """The match of the way of naming that leaves least; without a head, whatever lies in its place is passed over."""
    given = {key: array for key, array in tensors.items() if key not in ("mean", "std", "input")}
    matches = []
    for names in _foreign_names(network):
        place = names["head.weight"].removesuffix("weight")
        wanted = names if head else {name: key for name, key in names.items() if not name.startswith("head.")}
        matches.append(_named(network, wanted, {k: a for k, a in given.items() if head or not k.startswith(place)}))
    return min(matches, key=lambda one: one.count)


def _named(network: Classifier, names: Mapping[str, str], tensors: Tensors) -> _Match:
    wanted = _weights_of(network)
    keys = {name: key for name, key in names.items() if key in tensors}
    missing = [key for name, key in names.items() if name not in keys and not _dispensable(name)]
    used = set(keys.values())
    left_over = [key for key in tensors if key not in used and not key.startswith(AUXILIARY)]
    misshapen = [
        f"{key} {_shape(tensors[key])} against {_shape(wanted[name])}"
        for name, key in keys.items()
        if not _fits(name, wanted[name], tensors[key])
    ]
    misshapen += _unlike_heads(keys, tensors)
    return _Match(keys, tuple(missing), tuple(left_over), tuple(misshapen))


def _by_order(network: Classifier, tensors: Tensors) -> _Match:
    """Tensor by tensor, the head's last; counters are passed over where the file has none."""
    wanted = _weights_of(network)
    if all(array.dtype.kind == "f" for array in tensors.values()):
        wanted = {name: tensor for name, tensor in wanted.items() if not name.endswith(COUNTER)}
    body = [name for name in wanted if name.startswith("body.")]
    names = body if len(tensors) == len(body) else list(wanted)
    keys = dict(zip(names, tensors, strict=False))
    misshapen = [
        f"number {place}, {key} {_shape(tensors[key])} against {name} {_shape(wanted[name])}"
        for place, (name, key) in enumerate(keys.items())
        if not _fits(name, wanted[name], tensors[key])
    ]
    misshapen += _unlike_heads(keys, tensors)
    missing = [name for name in names[len(tensors) :] if not _dispensable(name)]
    return _Match(keys, tuple(missing), tuple(tensors)[len(names) :], tuple(misshapen))


def _dispensable(name: str) -> bool:
    return name.endswith(COUNTER) or name.startswith("head.")


def _fits(name: str, wanted: torch.Tensor, found: NDArray[Any]) -> bool:
    """Whether a tensor of the file may fill one of ours; a head may have any number of classes."""
    if found.dtype.kind not in _KINDS[wanted.dtype]:
        return False
    shape = tuple(wanted.shape)
    if name.startswith("head."):
        return found.ndim == len(shape) and found.shape[1:] == shape[1:]
    return found.shape == shape


def _unlike_heads(keys: Mapping[str, str], tensors: Tensors) -> list[str]:
    """A head's bias that has not one value a class of its weight."""
    weight, bias = (keys.get(f"head.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None or tensors[weight].shape[:1] == tensors[bias].shape[:1]:
        return []
    return [f"{bias} {_shape(tensors[bias])} against {weight} {_shape(tensors[weight])}"]


def _filled(ours: torch.Tensor, array: NDArray[Any], key: str, where: str) -> torch.Tensor:
    """A tensor of ours with the values of the file's, in memory of its own."""
    with np.errstate(over="ignore"):  # a double that no float can hold becomes infinite, which is refused
        values = torch.empty(ours.shape, dtype=ours.dtype)
        values.numpy()[...] = array
    if not bool(torch.isfinite(values).all()):
        raise DamagedError(f"{where}: tensor {key} holds values that are not finite", "Get the file again")
    return values


def _misfit(match: _Match, network: Classifier, tensors: Tensors, where: str, *, offer: bool) -> MisfitError:
    told = "; ".join(_listed(kind, keys) for kind, keys in match.faults.items())
    remedy = "Name the network that the file was made from with --net"
    if offer and not _by_order(network, tensors).count:
        remedy = "All shapes fit in order: add --by-order"
    elif any(len(keys) > TOLD for keys in match.faults.values()):
        remedy += "; --misfits lists every key"
    rows = tuple((kind, key) for kind, keys in match.faults.items() for key in keys)
    return MisfitError(f"{where}: not the tensors of {network.spec.name}: {told}", remedy, rows)


def _listed(kind: str, keys: Sequence[str]) -> str:
    more = f" and {len(keys) - TOLD} more" if len(keys) > TOLD else ""
    return f"{len(keys)} {kind} ({', '.join(key[:100] for key in keys[:TOLD])}{more})"


def _shape(values: torch.Tensor | NDArray[Any]) -> str:
    kind = "" if isinstance(values, torch.Tensor) or values.dtype.kind == "f" else f" {values.dtype}"
    return f"{list(values.shape)}{kind}"
