"""Trials drawn from a seed: seed, number and base give the same trial on every machine and release."""

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
    """Trial `number` (0-based) of a drawn setup, from `Stream("trial", seed, number)`.

    The order of draws is that of SPEC.md section 8.2. Further targets and the images that poisons supplant come
    last, so asking for them changes no draw before.

    Args:
        base: the dataset; trials use its `victim_classes` only.
        record: the seed; the number of `poisons`, or a `rate` of the training images of the adversarial label, rounded
            down; `candidates`, of which an attack keeps as many as `poisons`; the number of `targets`. `class_pair` is
            (adversarial label, target class). `source_classes` restricts the target's class and, unless they leave no
            other, excludes the adversarial label. `bases_from` is the class `adversarial` or the `source` classes: of
            a `backdoor` those given, else the target's. `supplant` draws the images that the poisons replace.

    Raises:
        UsageError: classes that the base lacks, equal classes, or more or fewer poisons or targets than the classes
            can give.
    """
    stream = Stream("trial", record.seed, number)
    allowed = _images_of(base.test.labels, _allowed_classes(base, record), "test")
    index = stream.choice(allowed)
    label = int(base.test.labels[index])
    adversarial = stream.choice(_adversarial_labels(base, record, label))
    sources = _sources(record, label, adversarial)
    poisons, asked = _poisons(record, base, adversarial)
    if record.candidates is not None:
        asked = f"{record.candidates} candidates"
    classes = sources if record.bases_from == "source" else (adversarial,)
    bases = _sample(stream, base, classes, record.candidates or poisons, asked)
    others = [other for other in allowed if base.test.labels[other] == label and other != index]
    if record.targets > len(others) + 1:
        raise UsageError(f"{record.targets} targets of class {label}: {base.name} has {len(others) + 1} test images")
    targets = (index, *stream.sample(others, record.targets - 1))
    removed = None
    if record.supplant:
        removed = tuple(sorted(_sample(stream, base, (adversarial,), poisons, f"{poisons} images to supplant")))
    return Plan(
        trial=number,
        targets=tuple(SplitTarget(split="test", index=target, label=label) for target in targets),
        adversarial_label=adversarial,
        bases=tuple(bases),
        poisons=None if record.candidates is None else poisons,
        source_classes=sources if record.backdoor else (),
        removed=removed,
    )


def _allowed_classes(base: Base, record: DrawnSetup) -> tuple[int, ...]:
    """The classes that targets are drawn from."""
    victim_classes = set(base.victim_classes)
    for label in (*record.source_classes, *(record.class_pair or ())):
        if label not in victim_classes:
            known = ", ".join(map(str, base.victim_classes[:20]))
            raise UsageError(f"class {label} is not one of the victim classes of base {base.name}", f"They are {known}")
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
    present = set(np.unique(base.train.labels).tolist())
    others = [label for label in base.victim_classes if label != target_class and label in present]
    if not others:
        raise UsageError(f"base {base.name} has training images of one victim class; a trial needs two")
    # An adversarial label among the source classes would ask nothing of the attack for that class.
    return [label for label in others if label not in record.source_classes] or others


def _sources(record: DrawnSetup, target_class: int, adversarial: int) -> tuple[int, ...]:
    """The classes whose images carry the trigger; without any the target's alone."""
    if not record.backdoor or not record.source_classes:
        return (target_class,)
    return tuple(label for label in record.source_classes if label != adversarial)


def _images_of(labels: Labels, classes: Sequence[int], split: str) -> list[int]:
    found: list[int] = np.flatnonzero(np.isin(labels, list(classes))).tolist()
    if not found:
        raise UsageError(f"there is no {split} image of class {', '.join(map(str, classes))}")
    return found


def _poisons(record: DrawnSetup, base: Base, adversarial: int) -> tuple[int, str]:
    """How many poisons the trial has, and in words what was asked for."""
    if record.poisons is not None:
        return record.poisons, f"{record.poisons} poisons"
    numerator, denominator = map(int, str(record.rate).split("/"))
    count = int((base.train.labels == adversarial).sum()) * numerator // denominator
    return count, f"a rate of {record.rate} ({count} poisons)"


def _sample(stream: Stream, base: Base, classes: tuple[int, ...], count: int, asked: str) -> list[int]:
    among = _images_of(base.train.labels, classes, "training")
    if not 1 <= count <= len(among):
        named = f"class{'es' if len(classes) > 1 else ''} {', '.join(map(str, classes[:20]))}"
        raise UsageError(
            f"{asked} cannot be drawn: {named} of {base.name} has {len(among)} training images",
            f"Choose 1 to {len(among)} poisons",
        )
    return stream.sample(among, count)
