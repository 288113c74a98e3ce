"""Targets: they are as declared, no victim trains on them, and `targets.tar` holds exactly them."""

from collections import Counter
from collections.abc import Iterator

from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files.pixels import image_digest
from poisonsets.manifests.overlay.stamp import stamp
from poisonsets.manifests.overlay.targets import plain_image
from poisonsets.manifests.records.trial import FileTarget
from poisonsets.manifests.sets.reader import TARGETS
from poisonsets.manifests.verification.check_registry import check, check_set
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedSet, CheckedTrial


@check_set("V105")
def target_file_as_declared(checked: CheckedSet) -> Iterator[Finding]:
    """targets.tar holds exactly the declared targets, with the declared labels and pixels."""
    opened = checked.opened
    declared = [
        (trial.trial, target)
        for trial in opened.manifest.trials
        for target in trial.targets
        if isinstance(target, FileTarget)
    ]
    if not declared or all(record.path != TARGETS for record in opened.manifest.files):
        return
    samples = opened.target_samples
    found = Counter(samples.keys())
    row_of = {key: row for row, key in enumerate(samples.keys())}
    for key in sorted(set(found) - {target.key for _, target in declared}):
        yield Finding("V105", f"sample {key} is no declared target", part=TARGETS)
    for key, times in sorted(found.items()):
        if times > 1:
            yield Finding("V105", f"sample {key} appears {times} times", part=TARGETS)
    for number, target in declared:
        if target.key not in row_of:
            yield Finding("V105", f"{TARGETS} has no sample {target.key}", trial=number)
            continue
        row = row_of[target.key]
        if samples.labels[row] != target.label:
            message = f"target {target.key} has label {samples.labels[row]} in {TARGETS}, {target.label} declared"
            yield Finding("V105", message, trial=number)
        if image_digest(samples.images[row], target.label) != target.pixels:
            yield Finding("V105", f"target {target.key} has other pixels than declared", trial=number)


@check("V403")
def targets_as_declared(trial: CheckedTrial) -> Iterator[Finding]:
    """Every target exists, has the declared true label and not the adversarial one, and is no training image."""
    for target in trial.record.targets:
        if target.label == trial.record.adversarial_label:
            yield trial.finding("V403", f"a target of class {target.label} already has the adversarial label")
        if isinstance(target, FileTarget):
            yield from _no_known_image(trial, target)
            continue
        split = trial.base.split(target.split)
        if target.split == "train":
            yield trial.finding("V403", f"target {target.image_id} is a training image: victims know its label")
        if target.index >= len(split.labels):
            yield trial.finding("V403", f"target {target.image_id} does not exist")
        elif split.labels[target.index] != target.label:
            true = int(split.labels[target.index])
            yield trial.finding("V403", f"target {target.image_id} is of class {true}, {target.label} declared")


def _no_known_image(trial: CheckedTrial, target: FileTarget) -> Iterator[Finding]:
    """A file target that is an image of the base is judged by the base's label, and may not be a training image."""
    if target.key not in trial.poison_set.target_keys:
        return
    image = trial.poison_set.target_file(target.key)
    for index in trial.checked_set.train_lookup.find(image)[:1]:
        yield trial.finding("V403", f"target {target.key} is the training image train/{index}")
    for index in trial.checked_set.test_lookup.find(image)[:1]:
        true = int(trial.base.test.labels[index])
        if true != target.label:
            yield trial.finding("V403", f"target {target.key} is test/{index} of class {true}, {target.label} declared")


@check("V404")
def targets_not_among_poisons(trial: CheckedTrial) -> Iterator[Finding]:
    """No poison is a target itself, as it is or with the trigger on."""
    trigger = trial.trigger()
    for target in trial.record.targets:
        try:
            image = plain_image(target, trial.base, trial.poison_set.target_file)
        except (DamagedError, UsageError):  # V105 and V403 report it
            continue
        forms = [image] if trigger is None else [image, stamp(image, trigger, target.image_id)]
        rows = {row for form in forms for row in trial.lookup.find(form)}
        for slot in (trial.slot_of[row] for row in sorted(rows) if row in trial.slot_of):
            yield trial.finding("V404", f"the poison is the target {target.image_id}", slot=slot)
