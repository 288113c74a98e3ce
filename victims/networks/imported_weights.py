"""Weights of others as a network of ours, and what their file says of itself: a pretraining that is called imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files.state_dicts import StateDict, read_state_dict
from poisonsets.victims.networks import Classifier, NetworkSpec, refuse_unknown
from poisonsets.victims.networks.known_weights import EXTRA, KnownWeights
from poisonsets.victims.networks.matching import FilledNetwork, filled_network
from poisonsets.victims.networks.normalisation import Three
from poisonsets.victims.networks.published import Published, published
from poisonsets.victims.networks.shape import parse_shape


@dataclass(frozen=True)
class Description:
    """What a user says of weights.

    Attributes:
        network: the network they are of, `NAME[@input=S,width=W]`; None where the file or its name says.
        by_order: match tensors by order and shape instead of by name.
        head: keep the file's head, where it has one.
        mean, std: the normalisation they were trained with; where both are left out, what the network's library
            publishes.
        licence: of the weights, in words.
        dataset: the name of what they were trained on.
        class_names: of the head's outputs.
    """

    network: str | None = None
    by_order: bool = False
    head: bool = True
    mean: Three | None = None
    std: Three | None = None
    licence: str | None = None
    dataset: str | None = None
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ImportedWeights:
    """A network with weights of others, and the record of where they came from.

    Attributes:
        network: in eval mode, on the CPU.
        pretraining: `imported`, the file's name and sha256 (`source`, `sha256`), `licence` and `dataset` where known,
            `mean` and `std`, the side of the images it was trained on (`made_for`), and whether the head is theirs
            (`head`).
        class_names: of the head's outputs, where they are known.
        left_out: keys of the file that were not used.
    """

    network: Classifier
    pretraining: dict[str, Any]
    class_names: tuple[str, ...] | None
    left_out: tuple[str, ...]

    @property
    def classes(self) -> range:
        """The labels of the head's outputs: their positions."""
        return range(self.network.spec.classes)


def import_known(known: KnownWeights, *, network: str | None = None) -> ImportedWeights:
    """Published weights from their installed package.

    Args:
        known: which.
        network: theirs, which may be spelled out.

    Raises:
        MissingError: the package is not installed, or its file cannot be read.
        DamagedError: the file is not the one that was published.
        UsageError: another network was asked for.
    """
    shape = parse_shape(network or known.network)
    if shape.name != known.network:
        raise UsageError(f"{known.name}: weights of {known.network}, not of {shape}", "Leave out --net")
    path = known.path()
    found = read_state_dict(path, follow=True)  # installers may link packages; the sha256 says what it is
    if found.sha256 != known.sha256:
        raise DamagedError(
            f"{path}: sha256 {found.sha256[:16]}, but {known.name} has {known.sha256[:16]}",
            f"Type `pip uninstall {known.package}`, then `{EXTRA}`",
        )
    return imported(found, path, Description(str(shape), by_order=True, licence=known.licence, dataset=known.dataset))


def imported(found: StateDict, path: Path, said: Description) -> ImportedWeights:
    """The weights of a state dict as a network.

    Args:
        found: what the file holds.
        path: the file.
        said: what the user says of it.

    Raises:
        UsageError: the network is unknown; the tensors are not its own (a `MisfitError`); nobody says how images are
            normalised; or there are not as many class names as classes.
        DamagedError: a tensor holds values that are not finite.
    """
    if said.network is None:
        raise UsageError(f"{path}: of which network? A state dict does not say", "Name it: --net torchvision:resnet18")
    shape = parse_shape(said.network)
    refuse_unknown(shape.name)
    expected = _expected(shape.name, said)
    spec = NetworkSpec(shape.name, 1, shape.width, expected.mean, expected.std, shape.input)
    filled = filled_network(
        spec, found.tensors, str(path), by_order=said.by_order, ordered=found.ordered, head=said.head
    )
    _check_names(said, filled, path)
    pretraining = {
        "imported": True,
        "source": path.name,
        "sha256": found.sha256,
        "mean": ",".join(expected.mean),
        "std": ",".join(expected.std),
        "head": filled.head,
        "made_for": expected.side,
        "licence": said.licence,
        "dataset": said.dataset,
    }
    known = {name: value for name, value in pretraining.items() if value is not None}
    return ImportedWeights(filled.network, known, said.class_names if filled.head else None, filled.left_out)


def _expected(network: str, said: Description) -> Published:
    if (said.mean is None) != (said.std is None):
        raise UsageError("a mean without a standard deviation, or the other way round", "Give both --mean and --std")
    if said.mean is None or said.std is None:
        return published(network)
    if not all(map(float, said.std)):
        raise UsageError(f"a standard deviation of {','.join(said.std)}, wanted above 0", "Give --std of the training")
    try:
        side = published(network).side
    except UsageError:
        side = None
    return Published(said.mean, said.std, side)


def _check_names(said: Description, filled: FilledNetwork, path: Path) -> None:
    names, classes = said.class_names, filled.network.spec.classes
    if names is not None and filled.head and len(names) != classes:
        raise UsageError(f"{path}: {len(names)} class names for a head of {classes} classes", "Give one a class")
