"""Which extractor goes with which protocol; misfits are refused before any training."""

from collections.abc import Sequence
from typing import TypeAlias

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.victims.networks.classifier import channel_values
from poisonsets.victims.networks.image_size import LARGER, misfit
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol

Shape: TypeAlias = tuple[str, str]
"""Name and width of a network."""


def matched(
    protocols: Sequence[Protocol], extractors: Sequence[Weights], base: Base
) -> tuple[tuple[Protocol, Weights | None], ...]:
    """Each protocol with each extractor of its network and width, in the given order, without repeats.

    A protocol from scratch appears once, without an extractor. Extractors of equal digests are one.

    Raises:
        MissingError: a protocol finds no extractor, or an extractor was trained on images of another size, cannot take
            those of the base, or does not fit its protocol.
        UsageError: no protocol uses an extractor.
    """
    extractors = list({extractor.digest: extractor for extractor in reversed(extractors)}.values())[::-1]
    for extractor in extractors:
        _refuse_size(extractor, base)
    refuse_unmet(protocols, [_shape(extractor) for extractor in extractors])
    pairs: list[tuple[Protocol, Weights | None]] = []
    for protocol in dict.fromkeys(protocols):
        if protocol.training == "scratch":
            pairs.append((protocol, None))
            continue
        fitting = [one for one in extractors if _shape(one) == (protocol.network, protocol.width)]
        for extractor in fitting:
            _refuse_misfit(protocol, extractor, base)
        pairs += [(protocol, extractor) for extractor in fitting]
    for extractor in extractors:
        if not any(extractor is pair[1] for pair in pairs):
            raise UsageError(
                f"{extractor.path}: no protocol uses a {_spelled(_shape(extractor))}",
                "Leave it out, or name a protocol of its network and width",
            )
    return tuple(pairs)


def refuse_unmet(protocols: Sequence[Protocol], shapes: Sequence[Shape]) -> None:
    """Raise a MissingError where a protocol starts from an extractor and none of these shapes is its own."""
    for protocol in protocols:
        wanted = (protocol.network, protocol.width)
        if protocol.training != "scratch" and wanted not in shapes:
            found = ", ".join(map(_spelled, shapes)) or "none"
            raise MissingError(
                f"protocol {protocol.id} needs an extractor {_spelled(wanted)}, given: {found}",
                "Give weights of that network, or a protocol with another network or width",
            )


def _refuse_size(extractor: Weights, base: Base) -> None:
    if (unfit := misfit(extractor.network, base.train.side)) is not None:
        raise MissingError(f"{extractor.path}: {unfit}", LARGER)
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


def _shape(extractor: Weights) -> Shape:
    return extractor.network.spec.name, extractor.network.spec.width


def _spelled(shape: Shape) -> str:
    return f"{shape[0]} of width {shape[1]}"
