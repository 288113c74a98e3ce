"""Labels: bases exist, clean labels are those of the bases, source classes and index lists make sense."""

from collections.abc import Iterator

from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedTrial


@check("V401")
def bases_exist(trial: CheckedTrial) -> Iterator[Finding]:
    """Every named base is an image of the training split."""
    count = len(trial.base.train.labels)
    for slot, base in enumerate(trial.record.slots.bases):
        if base is not None and base >= count:
            yield trial.finding("V401", f"base train/{base} does not exist; the split has {count} images", slot=slot)


@check("V402")
def labels_are_clean(trial: CheckedTrial) -> Iterator[Finding]:
    """Where clean labels are declared, every poison's label is its base's."""
    if trial.record.labels != "clean":
        return
    for slot, (base, label) in enumerate(zip(trial.record.slots.bases, trial.record.slots.labels, strict=True)):
        if base is None:
            yield trial.finding("V402", "no base is named, so its label cannot be called clean", slot=slot)
        elif base < len(trial.base.train.labels) and trial.base.train.labels[base] != label:
            message = f"label {label}, but its base train/{base} is of class {trial.base.train.labels[base]}: not clean"
            yield trial.finding("V402", message, slot=slot)


@check("V405")
def lists_exist(trial: CheckedTrial) -> Iterator[Finding]:
    """No source class is the adversarial one; index lists hold images that exist, each in one list and once."""
    record = trial.record
    if record.adversarial_label in record.source_classes:
        yield trial.finding("V405", f"source class {record.adversarial_label} is the adversarial one")
    seen: dict[str, set[int]] = {"train": set(), "test": set()}
    for name, indices in sorted(record.lists.items()):
        split = "test" if name == "adversarial-test" else "train"
        count, before = len(trial.base.split(split).labels), seen[split]
        if outside := [index for index in indices if index >= count]:
            yield trial.finding("V405", f"list {name}: {split}/{outside[0]} does not exist; there are {count} images")
        if len(before | set(indices)) < len(before) + len(indices):
            message = f"list {name}: an image of the {split} split appears in two lists, or twice in one"
            yield trial.finding("V405", message)
        before.update(indices)
