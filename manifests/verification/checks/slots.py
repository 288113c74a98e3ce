"""Slots: the shards hold exactly the declared poisons, in order, with the declared labels and pixels."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.sets.shard import key_of
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedTrial


@check("V201")
def slots_complete(trial: CheckedTrial) -> Iterator[Finding]:
    """Every declared slot is in the shards exactly once, in order, and no other."""
    count = len(trial.record.slots.labels)
    if trial.keys == tuple((trial.number, slot) for slot in range(count)):
        return
    found = Counter(trial.keys)
    for number, slot in sorted(found):
        if number != trial.number or slot >= count:
            message = f"the shards hold sample {key_of(number, slot)}, the manifest declares slots 0..{count - 1}"
            yield trial.finding("V201", message, slot=slot)
        elif found[number, slot] > 1:
            yield trial.finding("V201", f"appears {found[number, slot]} times in the shards", slot=slot)
    for slot in range(count):
        if (trial.number, slot) not in found:
            yield trial.finding("V201", "declared, but not in the shards", slot=slot)
    if list(trial.keys) != sorted(trial.keys):
        yield trial.finding("V201", "the samples are not in ascending slot order")


@check("V202")
def labels_as_declared(trial: CheckedTrial) -> Iterator[Finding]:
    """The label in the shard is the label in the manifest."""
    found = trial.labels.tolist()
    for slot, row in trial.row_of.items():
        declared = trial.record.slots.labels[slot]
        if found[row] != declared:
            yield trial.finding("V202", f"label {found[row]} in the shard, {declared} declared", slot=slot)


@check("V203")
def pixels_as_declared(trial: CheckedTrial) -> Iterator[Finding]:
    """The trial's digest of pixels and labels is that of its shards."""
    found = pixel_digest(trial.images, trial.labels)
    if found != trial.record.pixels:
        yield trial.finding("V203", f"pixels digest {found[:12]}..., declared {trial.record.pixels[:12]}...")


@check("V204")
def moved_as_declared(trial: CheckedTrial) -> Iterator[Finding]:
    """As many poisons differ from their base as the manifest says."""
    if trial.record.outcome is None:
        return
    moved = int(trial.moved.sum())
    if moved != trial.record.outcome.moved:
        yield trial.finding("V204", f"{moved} poisons differ from their base, {trial.record.outcome.moved} declared")


@check("H201")
def poisons_differ(trial: CheckedTrial) -> Iterator[Finding]:
    """No two poisons of a trial are equal, pixel for pixel."""
    slots = trial.slot_of
    found = [(slots[one], slots[two]) for one, two in trial.lookup.repeated().items() if one in slots and two in slots]
    if found:
        again, first = found[0]
        message = f"has the pixels of slot {first}; {len(found)} poisons repeat an earlier one"
        yield trial.finding("H201", message, slot=again)


@check("H202")
def poisons_do_something(trial: CheckedTrial) -> Iterator[Finding]:
    """Every poison differs from its base, in its pixels or in its label."""
    pairs, declared = trial.pairs, np.array(trial.record.slots.labels, dtype=np.int64)
    same_label = trial.base.train.labels[pairs.bases] == declared[pairs.slots]
    idle = pairs.slots[same_label & (trial.everywhere.largest == 0)]
    if len(idle):
        message = f"{len(idle)} of {len(declared)} poisons are their own base under its own label"
        yield trial.finding("H202", message, slot=int(idle[0]))
