"""Labels: bases exist, clean labels are the bases' own, and targets are what they are said to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poisonsets.manifests.checks import Case, check
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import FileTarget


@check("V401")
def bases_exist(case: Case) -> Iterator[Finding]:
    """Every named base is an image of the training split."""
    count = len(case.base.train.labels)
    for slot, base in enumerate(case.record.slots.bases):
        if base is not None and base >= count:
            yield case.violation("V401", f"base train/{base} does not exist; the split has {count} images", slot=slot)


@check("V402")
def labels_are_clean(case: Case) -> Iterator[Finding]:
    """Where clean labels are declared, every poison's label is its base's."""
    if case.record.labels != "clean":
        return
    for slot, (base, label) in enumerate(zip(case.record.slots.bases, case.record.slots.labels, strict=True)):
        if base is None:
            yield case.violation("V402", "no base is named, so its label cannot be called clean", slot=slot)
        elif base < len(case.base.train.labels) and case.base.train.labels[base] != label:
            true = int(case.base.train.labels[base])
            yield case.violation(
                "V402", f"label {label}, but its base train/{base} is of class {true}: not clean", slot=slot
            )


@check("V403")
def targets_as_declared(case: Case) -> Iterator[Finding]:
    """Every target exists, has the declared true label, and is not of the adversarial class already."""
    if case.record.adversarial_label >= len(case.base.classes):
        yield case.violation("V403", f"adversarial label {case.record.adversarial_label} is not a class of the base")
    for target in case.record.targets:
        if target.label == case.record.adversarial_label:
            yield case.violation("V403", f"a target of class {target.label} already has the adversarial label")
        if isinstance(target, FileTarget):
            continue
        split = case.base.split(target.split)
        if target.index >= len(split.labels):
            yield case.violation("V403", f"target {target.split}/{target.index} does not exist")
        elif split.labels[target.index] != target.label:
            true = int(split.labels[target.index])
            yield case.violation(
                "V403", f"target {target.split}/{target.index} is of class {true}, {target.label} declared"
            )


@check("V404")
def targets_not_among_poisons(case: Case) -> Iterator[Finding]:
    """No poison is the target itself."""
    for target in case.record.targets:
        if isinstance(target, FileTarget) or target.index >= len(case.base.split(target.split).labels):
            continue
        image = case.base.split(target.split).images[target.index]
        for slot, row in case.row_of.items():
            if np.array_equal(case.images[row], image):
                yield case.violation("V404", f"the poison is the target {target.split}/{target.index}", slot=slot)


@check("V405")
def lists_exist(case: Case) -> Iterator[Finding]:
    """Source classes are classes of the base, and named index lists hold images that exist."""
    classes, record = len(case.base.classes), case.record
    for label in record.source_classes:
        if label >= classes or label == record.adversarial_label:
            yield case.violation("V405", f"source class {label} is no class of the base, or the adversarial one")
    for name, indices in sorted(record.lists.items()):
        count = len(case.base.test.labels if name == "adversarial-test" else case.base.train.labels)
        outside = [index for index in indices if index >= count]
        if outside or len(set(indices)) != len(indices):
            yield case.violation("V405", f"list {name}: an index stands twice, or {outside[:1]} of {count} images")
