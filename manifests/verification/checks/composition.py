"""Composition: the rule that puts poisons into the training set works on this base."""

from collections import Counter
from collections.abc import Iterator

from poisonsets.manifests.records.trial import Supplant
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedTrial


@check("V601")
def removed_images_exist(trial: CheckedTrial) -> Iterator[Finding]:
    """A supplanting trial names different images of the training split, as many as it has poisons."""
    rule = trial.record.composition
    if not isinstance(rule, Supplant):
        return
    if len(set(rule.removed)) != len(rule.removed):
        yield trial.finding("V601", "an image is removed twice")
    outside = [index for index in rule.removed if index >= len(trial.base.train.labels)]
    if outside:
        yield trial.finding("V601", f"the removed image train/{outside[0]} does not exist")
    if len(rule.removed) != len(trial.record.slots.labels):
        yield trial.finding("V601", f"{len(rule.removed)} images removed for {len(trial.record.slots.labels)} poisons")


@check("H601")
def classes_keep_their_size(trial: CheckedTrial) -> Iterator[Finding]:
    """Supplanting leaves every class that victims know as large as it was, by the labels that they are given."""
    rule, labels = trial.record.composition, trial.base.train.labels
    if not isinstance(rule, Supplant):
        return
    change = Counter(trial.record.slots.labels)
    change.subtract(int(labels[index]) for index in set(rule.removed) if index < len(labels))
    changed = [(label, by) for label, by in sorted(change.items()) if by and label in trial.base.victim_classes]
    if changed:
        sizes = ((label, int((labels == label).sum()), by) for label, by in changed[:5])
        spelled = ", ".join(f"class {label} {size + by} for {size}" for label, size, by in sizes)
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        yield trial.finding("H601", f"the composed training set has other class sizes than the base: {spelled}{more}")
