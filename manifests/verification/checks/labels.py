"""Labels: bases exist, clean labels are the bases' own, source classes and index lists make sense."""

from __future__ import annotations

from collections.abc import Iterator

from poisonsets.manifests.verification.case import Case
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding


@check("V401")
def bases_exist(case: Case) -> Iterator[Finding]:
    """Every named base is an image of the training split."""
    count = len(case.base.train.labels)
    for slot, base in enumerate(case.record.slots.bases):
        if base is not None and base >= count:
            yield case.finding("V401", f"base train/{base} does not exist; the split has {count} images", slot=slot)


@check("V402")
def labels_are_clean(case: Case) -> Iterator[Finding]:
    """Where clean labels are declared, every poison's label is its base's."""
    if case.record.labels != "clean":
        return
    for slot, (base, label) in enumerate(zip(case.record.slots.bases, case.record.slots.labels, strict=True)):
        if base is None:
            yield case.finding("V402", "no base is named, so its label cannot be called clean", slot=slot)
        elif base < len(case.base.train.labels) and case.base.train.labels[base] != label:
            true = int(case.base.train.labels[base])
            yield case.finding(
                "V402", f"label {label}, but its base train/{base} is of class {true}: not clean", slot=slot
            )


@check("V405")
def lists_exist(case: Case) -> Iterator[Finding]:
    """No source class is the adversarial one, and named index lists hold images that exist, each once."""
    record = case.record
    if record.adversarial_label in record.source_classes:
        yield case.finding("V405", f"source class {record.adversarial_label} is the adversarial one")
    for name, indices in sorted(record.lists.items()):
        count = len(case.base.test.labels if name == "adversarial-test" else case.base.train.labels)
        outside = [index for index in indices if index >= count]
        if outside or len(set(indices)) != len(indices):
            yield case.finding("V405", f"list {name}: an index stands twice, or {outside[:1]} of {count} images")
