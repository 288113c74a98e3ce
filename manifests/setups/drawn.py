"""Trials drawn from a seed: seed, number and base give the same trial on every machine and release."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from poisonsets.manifests.bases.dataset import Base, Labels
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.model import DrawnSetup, SplitTarget
from poisonsets.manifests.setups.plan import Plan
from poisonsets.manifests.stream import Stream


def draw(base: Base, record: DrawnSetup, number: int) -> Plan:
    """Trial `number` of a drawn setup.

    In this order from `Stream("trial", seed, number)`: the target, uniform over the test images of the
    allowed classes; the base class, uniform over the other poison classes with training images; the bases,
    without replacement, from the training images of that class. The adversarial label is the base class.

    Args:
        base: the dataset; trials use its `poison_classes` only.
        record: the seed; the number of poisons, or a rate of the base class's training images (rounded down);
            `class_pair` fixes (base class, target class); `source_classes` restricts the target's class, and
            the base class is then none of them, unless they leave no other.
        number: the trial's number, 0-based.

    Raises:
        UsageError: classes that the base has not, equal classes, or more or fewer poisons than the class can
            give.
    """
    stream = Stream("trial", record.seed, number)
    sources = _source_classes(base, record)
    index = stream.choice(_images_of(base.test.labels, sources, "test"))
    label = int(base.test.labels[index])
    base_class = stream.choice(_base_classes(base, record, label))
    candidates = _images_of(base.train.labels, (base_class,), "training")
    bases = stream.sample(candidates, _poisons(record, base, base_class, len(candidates)))
    target = SplitTarget(split="test", index=index, label=label)
    return Plan(number, (target,), base_class, tuple(bases))


def _source_classes(base: Base, record: DrawnSetup) -> tuple[int, ...]:
    known_classes = set(base.poison_classes)
    for label in (*record.source_classes, *(record.class_pair or ())):
        if label not in known_classes:
            known = ", ".join(map(str, base.poison_classes[:20]))
            raise UsageError(f"class {label} is not one of the poison classes of base {base.name}", f"They are {known}")
    if record.class_pair is None:
        return record.source_classes or base.poison_classes
    base_class, target_class = record.class_pair
    if base_class == target_class:
        raise UsageError(f"the class pair {base_class}:{target_class} names one class twice", "Give two classes")
    if record.source_classes and target_class not in record.source_classes:
        raise UsageError(f"the class pair's target class {target_class} is not among the source classes")
    return (target_class,)


def _base_classes(base: Base, record: DrawnSetup, target_class: int) -> Sequence[int]:
    if record.class_pair is not None:
        return record.class_pair[:1]
    # A class may be declared without an image; drawing it would end the trial.
    there = set(np.unique(base.train.labels).tolist())
    others = [label for label in base.poison_classes if label != target_class and label in there]
    # An adversarial label among the source classes would ask nothing of the attack for that class.
    outside = [label for label in others if label not in record.source_classes]
    if not others:
        raise UsageError(f"base {base.name} has training images of one poison class; a trial needs two")
    return outside or others


def _images_of(labels: Labels, classes: Sequence[int], split: str) -> list[int]:
    found: list[int] = np.flatnonzero(np.isin(labels, list(classes))).tolist()
    if not found:
        raise UsageError(f"there is no {split} image of class {', '.join(map(str, classes))}")
    return found


def _poisons(record: DrawnSetup, base: Base, base_class: int, available: int) -> int:
    if record.poisons is not None:
        count, asked = record.poisons, f"{record.poisons} poisons"
    else:
        numerator, denominator = map(int, str(record.rate).split("/"))
        count = available * numerator // denominator
        asked = f"a rate of {record.rate} ({count} poisons)"
    if not 1 <= count <= available:
        raise UsageError(
            f"{asked} cannot be drawn: class {base_class} of {base.name} has {available} training images",
            f"Choose 1 to {available} poisons",
        )
    return count
