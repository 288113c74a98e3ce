"""Refuse before training what cannot be scored: another base, other classes, protocols that do not fit."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.records.trial import SplitTarget, Trial
from poisonsets.manifests.training_sets.training_set import OpenTrainingSet
from poisonsets.victims.networks import build
from poisonsets.victims.networks.image_size import enlarged, misfit, refuse_single
from poisonsets.victims.networks.normalisation import NONE
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.scoring.extractors import matched
from poisonsets.victims.scoring.subject import ScorableManifest, ScorableSet, ScorableTrial
from poisonsets.victims.trainers.training_rows import training_rows


def preflight(
    opened: ScorableSet,
    base: Base,
    protocols: Sequence[Protocol],
    numbers: Sequence[int] | None,
    extractors: Sequence[Weights] | None = None,
) -> tuple[ScorableTrial, ...]:
    """The trials to score, after all checks; what several protocols are refused for is said at once.

    Args:
        opened: the set.
        base: the base to score it on.
        protocols: how victims are to be trained.
        numbers: of the trials; all where None.
        extractors: the networks given; None leaves out the checks that depend on them.

    Raises:
        MissingError: as `check_base` and `matched`, or a protocol's network cannot take the base's images.
        UsageError: as `check_base`, `chosen_trials` and `matched`; a protocol mirrors images that may not be mirrored,
            its composition cannot be met by a trial or is another one for a whole training set, or its last step would
            have a single image that its network cannot be trained on.
    """
    check_base(opened.manifest, base)
    chosen = chosen_trials(opened, base, numbers)
    # Trials of a whole training set have the same rows: one stands for all.
    alike = {(trial.record.slots, trial.record.composition): trial.record for trial in reversed(chosen)}
    records = list(alike.values())
    checks: list[Callable[[], object]]
    checks = [partial(_refuse_misfit, opened, base, one, records) for one in dict.fromkeys(protocols)]
    if extractors is not None:
        checks.append(partial(matched, protocols, extractors, base))
    faults = [fault for check in checks if (fault := _fault(check)) is not None]
    if faults:
        raise _together(faults)
    return chosen


def _fault(check: Callable[[], object]) -> PoisonsetsError | None:
    try:
        check()
    except PoisonsetsError as error:
        return error
    return None


def _together(faults: Sequence[PoisonsetsError]) -> PoisonsetsError:
    """One error that says them all, each with its remedy, of the kind of the first."""
    first, *others = {str(fault): fault for fault in faults}.values()
    if not others:
        return first
    return type(first)(first.message, "; and ".join((first.remedy or "Leave it out", *map(str, others))))


def _refuse_misfit(opened: ScorableSet, base: Base, protocol: Protocol, records: Sequence[Trial]) -> None:
    """Refuse a protocol that does not go with the set or the base."""
    if isinstance(opened, OpenTrainingSet) and protocol.composition != "trial":
        raise UsageError(
            f"protocol {protocol.id} composes training sets {protocol.composition}, {opened.path} is a whole one",
            "Add `composition=trial` to the protocol",
        )
    for name in ("flip", "flip_target"):
        if getattr(protocol, name) and not base.mirror:
            raise UsageError(
                f"protocol {protocol.id} mirrors images, but those of {base.name} change meaning in a mirror",
                f"Add `{name}=false` to the protocol",
            )
    lengths = {length for record in records for length in _lengths(record, protocol, base)}
    if protocol.training == "scratch":
        network = build(protocol.network, len(base.victim_classes), protocol.width, *NONE, input=protocol.input)
        if (unfit := misfit(network, base.train.side)) is not None:
            raise MissingError(f"protocol {protocol.id}: {unfit}", enlarged(network))
        for images in sorted(lengths):
            refuse_single(network, base.train.side, images=images, batch=protocol.batch)


def _lengths(record: Trial, protocol: Protocol, base: Base) -> tuple[int, ...]:
    """How many images a trial's victim and its clean control are trained on.

    Raises:
        UsageError: one of the two training sets cannot be made, or holds labels that a victim does not know.
    """
    where = f"trial {record.trial}, protocol {protocol.id}"
    try:
        # Which images are kept depends on the victim seed, how many does not.
        rows, control = training_rows(protocol, record, base, 0)
    except UsageError as error:
        remedy = "Add `composition=trial` to the protocol" if protocol.composition == "by-count" else ""
        raise UsageError(f"{where}: {error.message}", error.remedy or remedy) from error
    if control is None:
        return (len(rows),)
    if not np.isin(control.label, base.victim_classes).all():
        raise UsageError(f"{where}: bases of the poisons are of classes that victims do not know, so it has no control")
    return len(rows), len(control)


def check_base(manifest: ScorableManifest, base: Base) -> None:
    """Refuse a base other than the one the set pins.

    Raises:
        MissingError: a split has another digest.
        UsageError: the set was made for other classes.
    """
    base.as_pinned(manifest.base)
    if manifest.base.victim_classes != base.victim_classes:
        raise UsageError(
            f"the set is for classes {list(manifest.base.victim_classes)}, "
            f"victims of {base.name} know {list(base.victim_classes)}"
        )


def chosen_trials(opened: ScorableSet, base: Base, numbers: Sequence[int] | None) -> tuple[ScorableTrial, ...]:
    """The trials of these numbers, or all where None, each with targets and labels that a victim can classify.

    Raises:
        UsageError: the set has no such trial, or a trial has no target, a target outside its split, or a label that
            victims do not know.
    """
    chosen = numbered_trials(opened, numbers)
    for trial in chosen:
        _check_trial(trial.record, base)
    return chosen


def numbered_trials(opened: ScorableSet, numbers: Sequence[int] | None) -> tuple[ScorableTrial, ...]:
    """The trials of these numbers, each once, or all where None; a UsageError where the set has no such trial."""
    by_number = {trial.record.trial: trial for trial in opened.trials}
    wanted = sorted(by_number) if numbers is None else dict.fromkeys(numbers)
    for number in wanted:
        if number not in by_number:
            raise UsageError(f"trial {number} is not in the set, which has {len(by_number)} trials")
    return tuple(by_number[number] for number in wanted)


def _check_trial(record: Trial, base: Base) -> None:
    where, count = f"trial {record.trial}", len(record.targets)
    if count != 1:
        found = f"{count} targets" if count else "no target"
        raise UsageError(f"{where} has {found}", "Score sets whose trials have one target each")
    strange = {record.adversarial_label, *record.slots.labels} - set(base.victim_classes)
    if strange:
        raise UsageError(f"{where} uses label {min(strange)}, victims know {list(base.victim_classes)}")
    target = record.targets[0]
    if isinstance(target, SplitTarget):
        labels, name = base.split(target.split).labels, f"{target.split}/{target.index}"
        if target.index >= len(labels):
            raise UsageError(f"{where}: target {name}, the split has {len(labels)} images")
        if int(labels[target.index]) != target.label:
            found = f"is recorded as class {target.label}, the base has class {labels[target.index]}"
            raise UsageError(f"{where}: target {name} {found}")
    outside = [index for index in record.slots.bases if index is not None and index >= len(base.train.labels)]
    if outside:
        raise UsageError(f"{where}: base image {outside[0]}, the split has {len(base.train.labels)} images")
