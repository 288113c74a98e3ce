"""Refuse before any training what cannot be scored: another base, other classes, misfit extractors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.model import Manifest, SplitTarget, Trial
from poisonsets.victims.composed import training_rows
from poisonsets.victims.networks import build
from poisonsets.victims.networks.classifier import channel_values
from poisonsets.victims.normalisation import NONE
from poisonsets.victims.probe import refuse_single, refuse_size
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.scorable import ScorableSet, ScorableTrial
from poisonsets.victims.weights import Weights


def preflight(
    opened: ScorableSet, base: Base, protocols: Sequence[Protocol], numbers: Sequence[int] | None
) -> tuple[ScorableTrial, ...]:
    """The trials to score, after everything is refused that does not depend on extractors.

    Args:
        opened: the set.
        base: the base to score it on.
        protocols: how victims are to be trained.
        numbers: of the trials; all where None.

    Raises:
        MissingError: as `check_base`.
        UsageError: as `check_base` and `chosen_trials`; a protocol mirrors images that may not be mirrored, its
            composition cannot be met by a trial, or its network cannot be trained on the base's images.
    """
    check_base(opened.manifest, base)
    chosen = chosen_trials(opened, base, numbers)
    for protocol in dict.fromkeys(protocols):
        for name in ("flip", "flip_target"):
            if getattr(protocol, name) and not base.mirror:
                raise UsageError(
                    f"protocol {protocol.id} mirrors images, those of {base.name} have no meaning in a mirror",
                    f"Add `{name}=false` to the protocol",
                )
        lengths = {length for trial in chosen for length in _lengths(trial.record, protocol, base)}
        if protocol.training == "scratch":
            network = build(protocol.network, len(base.poison_classes), protocol.width, *NONE)
            refuse_size(network, base.train.side)
            for images in sorted(lengths):
                refuse_single(network, base.train.side, images=images, batch=protocol.batch)
    return chosen


def _lengths(record: Trial, protocol: Protocol, base: Base) -> tuple[int, ...]:
    """How many images a trial's victim and its clean control are trained on.

    Raises:
        UsageError: one of the two training sets cannot be made, or holds labels that a victim does not know.
    """
    where = f"trial {record.trial}, protocol {protocol.id}"
    classes = base.poison_classes
    try:
        # Which images are kept depends on the victim seed, how many does not.
        rows, control = training_rows(protocol, record, base.train.labels, classes, 0)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.remedy) from error
    if control is None:
        return (len(rows),)
    if not np.isin(control.label, classes).all():
        raise UsageError(f"{where}: bases of the poisons are of classes that victims do not know, so it has no control")
    return len(rows), len(control)


def check_base(manifest: Manifest, base: Base) -> None:
    """Refuse a base other than the one the set pins.

    Raises:
        MissingError: a split has another digest.
        UsageError: the set was made for other classes.
    """
    base.as_pinned(manifest.base)
    if manifest.base.poison_classes != base.poison_classes:
        raise UsageError(
            f"the set is for classes {list(manifest.base.poison_classes)}, "
            f"victims of {base.name} know {list(base.poison_classes)}"
        )


def chosen_trials(opened: ScorableSet, base: Base, numbers: Sequence[int] | None) -> tuple[ScorableTrial, ...]:
    """The trials to score, each with targets and labels that a victim can be asked for.

    Args:
        opened: the set.
        base: its base.
        numbers: of the trials; all where None.

    Raises:
        UsageError: the set has no such trial, or a trial has no target, a target outside its split, or a
            label that victims do not know.
    """
    by_number = {trial.record.trial: trial for trial in opened.trials}
    wanted = sorted(by_number) if numbers is None else list(dict.fromkeys(numbers))
    for number in wanted:
        if number not in by_number:
            raise UsageError(f"trial {number} is not in the set, which has {len(by_number)} trials")
        _check_trial(by_number[number].record, base)
    return tuple(by_number[number] for number in wanted)


def _check_trial(record: Trial, base: Base) -> None:
    where = f"trial {record.trial}"
    if not record.targets:
        raise UsageError(f"{where} has no target", "Protocols score single targets only")
    if len(record.targets) > 1:
        raise UsageError(f"{where} has {len(record.targets)} targets", "Protocols score single targets only")
    strange = {record.adversarial_label, *record.slots.labels} - set(base.poison_classes)
    if strange:
        raise UsageError(f"{where} uses label {min(strange)}, victims know {list(base.poison_classes)}")
    for target in record.targets:
        if isinstance(target, SplitTarget):
            split = base.split(target.split)
            if target.index >= len(split.labels):
                raise UsageError(
                    f"{where}: target {target.split}/{target.index}, the split has {len(split.labels)} images"
                )
            if int(split.labels[target.index]) != target.label:
                raise UsageError(
                    f"{where}: target {target.split}/{target.index} is recorded as class {target.label}, "
                    f"the base has class {split.labels[target.index]}"
                )
    outside = [index for index in record.slots.bases if index is not None and index >= len(base.train.labels)]
    if outside:
        raise UsageError(f"{where}: base image {outside[0]}, the split has {len(base.train.labels)} images")


def matched(
    protocols: Sequence[Protocol], extractors: Sequence[Weights], base: Base
) -> tuple[tuple[Protocol, Weights | None], ...]:
    """Each protocol with each extractor of its network and width, in the order given, none twice.

    A protocol from scratch stands once, without an extractor. Extractors are one where their digests are.

    Raises:
        UsageError: a protocol finds no extractor or an extractor no protocol, or an extractor was trained
            on images of another size, cannot take those of the base, or does not fit its protocol.
    """
    extractors = list({extractor.digest: extractor for extractor in reversed(extractors)}.values())[::-1]
    for extractor in extractors:
        refuse_size(extractor.network, base.train.side)
        if extractor.side not in (None, base.train.side):
            raise UsageError(
                f"{extractor.path}: trained on images of {extractor.side} pixels, "
                f"those of {base.name} have {base.train.side}"
            )
    pairs: list[tuple[Protocol, Weights | None]] = []
    for protocol in dict.fromkeys(protocols):
        fitting = [one for one in extractors if _shape(one) == (protocol.network, protocol.width)]
        if protocol.training == "scratch":
            pairs.append((protocol, None))
        elif not fitting:
            found = ", ".join(f"{name} of width {width}" for name, width in map(_shape, extractors)) or "none"
            raise UsageError(
                f"protocol {protocol.id} needs an extractor {protocol.network} of width {protocol.width}, "
                f"given: {found}",
                "Give weights of that network, or a protocol with another network or `@width=`",
            )
        else:
            for extractor in fitting:
                _refuse_misfit(protocol, extractor, base)
            pairs += [(protocol, extractor) for extractor in fitting]
    for extractor in extractors:
        if not any(extractor is pair[1] for pair in pairs):
            name, width = _shape(extractor)
            raise UsageError(f"{extractor.path}: no protocol uses a {name} of width {width}")
    return tuple(pairs)


def _refuse_misfit(protocol: Protocol, extractor: Weights, base: Base) -> None:
    """Refuse an extractor whose normalisation or head is not what its protocol says."""
    spec = extractor.network.spec
    if protocol.normalise == "none" and (channel_values(spec.mean).any() or (channel_values(spec.std) != 1).any()):
        raise UsageError(
            f"{extractor.path}: normalises its images, protocol {protocol.id} wants an extractor that does not",
            "Add `normalise=own` to the protocol",
        )
    labels = tuple(extractor.record["classes"])
    if protocol.head == "kept" and labels != base.poison_classes:
        raise UsageError(
            f"{extractor.path}: its head is for classes {list(labels)}, protocol {protocol.id} keeps it for "
            f"{list(base.poison_classes)}",
            "Use an extractor trained on the victim's classes, or `head=fresh`",
        )


def _shape(extractor: Weights) -> tuple[str, str]:
    return extractor.network.spec.name, extractor.network.spec.width
