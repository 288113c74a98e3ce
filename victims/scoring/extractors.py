"""Which extractor goes with which protocol; misfits are refused before any training."""

from collections.abc import Sequence

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.victims.networks.classifier import channel_values
from poisonsets.victims.networks.image_size import enlarged, misfit
from poisonsets.victims.networks.shape import Shape
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol


def matched(
    protocols: Sequence[Protocol], extractors: Sequence[Weights], base: Base
) -> tuple[tuple[Protocol, Weights | None], ...]:
    """Each protocol with each extractor of its architecture, in the given order, without repeats.

    A protocol from scratch appears once, without an extractor. Extractors of equal digests are one. A protocol that
    gives its network an input size, and finds no extractor of that size, has those of its network and width at it.

    Raises:
        MissingError: a protocol finds no extractor, or an extractor was trained on images of another size, cannot take
            those of the base, or does not fit its protocol.
        UsageError: no protocol uses an extractor.
    """
    extractors = list({extractor.digest: extractor for extractor in reversed(extractors)}.values())[::-1]
    refuse_unmet(protocols, [one.network.spec.shape for one in extractors])
    used: set[str] = set()
    pairs: list[tuple[Protocol, Weights | None]] = []
    for protocol in dict.fromkeys(protocols):
        if protocol.training == "scratch":
            pairs.append((protocol, None))
            continue
        fitting = _fitting(protocol, extractors)
        used |= {extractor.digest for extractor in fitting}
        # Two files may be one network at one size.
        starts = {one.digest: one for one in (_at(protocol, extractor) for extractor in fitting)}
        for extractor in starts.values():
            _refuse_size(extractor, base)
            _refuse_misfit(protocol, extractor, base)
        pairs += [(protocol, extractor) for extractor in starts.values()]
    for extractor in extractors:
        if extractor.digest not in used:
            raise UsageError(
                f"{extractor.path}: no protocol uses a {extractor.network.spec.shape}",
                "Leave it out, or name a protocol of its network and width",
            )
    return tuple(pairs)


def refuse_unmet(protocols: Sequence[Protocol], shapes: Sequence[Shape]) -> None:
    """Raise a MissingError where a protocol starts from an extractor and none of these architectures is its own."""
    for protocol in protocols:
        if protocol.training == "scratch" or any(fits(protocol, shape) for shape in shapes):
            continue
        remedy = "Give weights of that network, or a protocol with another network or width"
        near = [one.input for one in shapes if (one.name, one.width) == (protocol.network, protocol.width)]
        if near:
            remedy = f"Add `input={near[0]}` to the protocol"
        found = ", ".join(map(str, shapes)) or "none"
        raise MissingError(f"protocol {protocol.id} needs an extractor {protocol.shape}, given: {found}", remedy)


def fits(protocol: Protocol, shape: Shape) -> bool:
    """Whether a protocol can start from this architecture, its own or its own at another input size."""
    same = (shape.name, shape.width) == (protocol.network, protocol.width)
    return same and (protocol.input is not None or shape.input is None)


def _fitting(protocol: Protocol, extractors: Sequence[Weights]) -> list[Weights]:
    own = [one for one in extractors if one.network.spec.shape == protocol.shape]
    return own or [one for one in extractors if fits(protocol, one.network.spec.shape)]


def _at(protocol: Protocol, extractor: Weights) -> Weights:
    return extractor if protocol.input is None else extractor.at_input(protocol.input)


def _refuse_size(extractor: Weights, base: Base) -> None:
    if (unfit := misfit(extractor.network, base.train.side)) is not None:
        raise MissingError(f"{extractor.path}: {unfit}", enlarged(extractor.network))
    if extractor.side not in (None, base.train.side):
        raise MissingError(
            f"{extractor.path}: trained on images of {extractor.side} pixels, "
            f"those of {base.name} have {base.train.side}",
            "Give an extractor trained on images of that size, or add the base again with --resize",
        )


def _refuse_misfit(protocol: Protocol, extractor: Weights, base: Base) -> None:
    """Refuse an extractor whose normalisation or head is not what its protocol says."""
    spec = extractor.network.spec
    if protocol.normalise == "none" and (channel_values(spec.mean).any() or (channel_values(spec.std) != 1).any()):
        raise MissingError(
            f"{extractor.path}: normalises its images, protocol {protocol.id} wants an extractor that does not",
            "Train one with --normalise none, or add `normalise=own` to the protocol",
        )
    labels = tuple(extractor.record["classes"])
    if protocol.head == "kept" and labels != base.victim_classes:
        raise MissingError(
            f"{extractor.path}: its head is for classes {list(labels)}, protocol {protocol.id} keeps it for "
            f"{list(base.victim_classes)}",
            "Use an extractor trained on the victim's classes, or `head=fresh`",
        )
