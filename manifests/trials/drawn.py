"""Trials drawn from a seed: seed, number and base give the same trial on every machine and release."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Labels
from poisonsets.manifests.records.origin import DrawnSetup
from poisonsets.manifests.records.trial import SplitTarget
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.trials.plan import Plan


def draw(base: Base, record: DrawnSetup, number: int) -> Plan:
    """Trial `number` of a drawn setup.

    In this order from `Stream("trial", seed, number)`: the first target, uniform over the test images of the
    allowed classes; the adversarial label, uniform over the other poison classes with training images; the bases,
    without replacement; the further targets, without replacement, from the test images of the first one's class;
    the images that the poisons supplant, without replacement, from the training images of the adversarial label.

    Args:
        base: the dataset; trials use its `victim_classes` only.
        record: the seed; the number of poisons, or a rate of the training images of the adversarial label (rounded
            down); `candidates`, of which an attack keeps as many as `poisons`; the number of `targets`;
            `class_pair` fixes (adversarial label, target class); `source_classes` restricts the target's class, and
            the adversarial label is then none of them, unless they leave no other. Bases come from the training
            images of the class `adversarial`, or of the `source` classes: of a `backdoor` its source classes (where
            none are given, the target's class), else the target's class. `supplant` draws what the poisons take the
            place of.
        number: the trial's number, 0-based.

    Raises:
        UsageError: classes that the base has not, equal classes, or more or fewer poisons or targets than the classes
            can give.
    """
    stream = Stream("trial", record.seed, number)
    allowed = _images_of(base.test.labels, _allowed_classes(base, record), "test")
    index = stream.choice(allowed)
    label = int(base.test.labels[index])
    adversarial = stream.choice(_adversarial_labels(base, record, label))
    sources = _sources(record, label, adversarial)
    dirty = record.bases_from == "source"
    poisons, asked = _poisons(record, base, adversarial)
    if record.candidates is not None:
        asked = f"{record.candidates} candidates"
    bases = _sampled(stream, base, sources if dirty else (adversarial,), record.candidates or poisons, asked)
    others = [one for one in allowed if base.test.labels[one] == label and one != index]
    if record.targets > len(others) + 1:
        raise UsageError(f"{record.targets} targets of class {label}: {base.name} has {len(others) + 1} test images")
    further = stream.sample(others, record.targets - 1)
    removed = None
    if record.supplant:
        removed = tuple(sorted(_sampled(stream, base, (adversarial,), poisons, f"{poisons} images to supplant")))
    return Plan(
        trial=number,
        targets=tuple(SplitTarget(split="test", index=one, label=label) for one in (index, *further)),
        adversarial_label=adversarial,
        bases=tuple(bases),
        poisons=None if record.candidates is None else poisons,
        source_classes=sources if record.backdoor else (),
        removed=removed,
    )


def _allowed_classes(base: Base, record: DrawnSetup) -> tuple[int, ...]:
    """The classes that targets are drawn from."""
    known_classes = set(base.victim_classes)
    for label in (*record.source_classes, *(record.class_pair or ())):
        if label not in known_classes:
            known = ", ".join(map(str, base.victim_classes[:20]))
            raise UsageError(f"class {label} is not one of the poison classes of base {base.name}", f"They are {known}")
    if record.class_pair is None:
        return record.source_classes or base.victim_classes
    adversarial, target_class = record.class_pair
    if adversarial == target_class:
        raise UsageError(f"the class pair {adversarial}:{target_class} names one class twice", "Give two classes")
    if record.source_classes and target_class not in record.source_classes:
        raise UsageError(f"the class pair's target class {target_class} is not among the source classes")
    return (target_class,)


def _adversarial_labels(base: Base, record: DrawnSetup, target_class: int) -> Sequence[int]:
    if record.class_pair is not None:
        return record.class_pair[:1]
    # A class may be declared without an image; drawing it would end the trial.
    there = set(np.unique(base.train.labels).tolist())
    others = [label for label in base.victim_classes if label != target_class and label in there]
    # An adversarial label among the source classes would ask nothing of the attack for that class.
    outside = [label for label in others if label not in record.source_classes]
    if not others:
        raise UsageError(f"base {base.name} has training images of one poison class; a trial needs two")
    return outside or others


def _sources(record: DrawnSetup, target_class: int, adversarial: int) -> tuple[int, ...]:
    """The classes whose images carry the trigger; without a trigger the target's alone."""
    if not record.backdoor or not record.source_classes:
        return (target_class,)
    return tuple(label for label in record.source_classes if label != adversarial)


def _images_of(labels: Labels, classes: Sequence[int], split: str) -> list[int]:
    found: list[int] = np.flatnonzero(np.isin(labels, list(classes))).tolist()
    if not found:
        raise UsageError(f"there is no {split} image of class {', '.join(map(str, classes))}")
    return found


def _poisons(record: DrawnSetup, base: Base, adversarial: int) -> tuple[int, str]:
    """How many poisons the trial has, as asked for or the share of the adversarial class, floored; and in words."""
    if record.poisons is not None:
        return record.poisons, f"{record.poisons} poisons"
    numerator, denominator = map(int, str(record.rate).split("/"))
    count = int((base.train.labels == adversarial).sum()) * numerator // denominator
    return count, f"a rate of {record.rate} ({count} poisons)"


def _sampled(stream: Stream, base: Base, classes: tuple[int, ...], count: int, asked: str) -> list[int]:
    among = _images_of(base.train.labels, classes, "training")
    if not 1 <= count <= len(among):
        named = f"class{'es' if len(classes) > 1 else ''} {', '.join(map(str, classes[:20]))}"
        raise UsageError(
            f"{asked} cannot be drawn: {named} of {base.name} has {len(among)} training images",
            f"Choose 1 to {len(among)} poisons",
        )
    return stream.sample(among, count)
