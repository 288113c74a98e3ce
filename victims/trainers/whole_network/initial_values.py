"""What a whole-network victim starts from: its shape, its normalisation and its initial values."""

from dataclasses import replace

import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import Classifier, NetworkSpec, build
from poisonsets.victims.networks.initial import fresh_head
from poisonsets.victims.networks.normalisation import normalisation
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.training.labels import images_of


def network_spec(protocol: Protocol, extractor: Classifier | None, base: Base) -> NetworkSpec:
    """The victim's network: the extractor's with an output for each class; from scratch, the protocol's own.

    From scratch `normalise=own` means the statistics of the clean base, so that poisons do not move them and victim and
    control see the same numbers.

    Args:
        protocol: network, width, normalisation.
        extractor: what training starts from; ignored from scratch.
        base: the victim knows its `victim_classes`.

    Raises:
        UsageError: an extractor is wanted and not given.
    """
    classes = len(base.victim_classes)
    if protocol.training == "scratch":
        mean, std = normalisation(protocol.normalise, images_of(base.train, base.victim_classes)[0])
        return NetworkSpec(protocol.network, classes, protocol.width, mean, std, protocol.input)
    if extractor is None:
        raise UsageError(f"protocol {protocol.id} needs an extractor", "Give weights of its network and width")
    return replace(extractor.spec, classes=classes)


def initialise(
    network: Classifier, protocol: Protocol, extractor: Classifier | None, generator: torch.Generator
) -> None:
    """Give a network of `network_spec` a victim's initial values, and put it into the mode it is trained in.

    That is training mode from scratch and eval mode on an extractor, whose running statistics stay as they are.

    Args:
        network: changed in place.
        protocol: training and head.
        extractor: as for `network_spec`.
        generator: on the CPU; draws all values from scratch, else those of a fresh head.
    """
    spec = network.spec
    if protocol.training == "scratch" or extractor is None:
        fresh = build(spec.name, spec.classes, spec.width, spec.mean, spec.std, input=spec.input, generator=generator)
        network.load_state_dict(fresh.state_dict())
        network.train()
        return
    values = extractor.state_dict()
    if protocol.head == "fresh":
        values["head.weight"], values["head.bias"] = fresh_head(spec.classes, network.feature_width, generator)
    network.load_state_dict(values)
    network.eval()
