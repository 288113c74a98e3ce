"""Slots: the shards hold exactly the declared poisons, in order, with the declared labels and pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.verification.case import Case
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding


@check("V201")
def slots_complete(case: Case) -> Iterator[Finding]:
    """Every declared slot is in the shards exactly once, in order, and no other."""
    count = len(case.record.slots.labels)
    if case.keys == tuple((case.trial.number, slot) for slot in range(count)):
        return
    found = Counter(case.keys)
    for trial, slot in sorted(found):
        if trial != case.trial.number or slot >= count:
            yield case.finding(
                "V201",
                f"the shards hold sample {trial:05d}-{slot:08d}, the manifest declares slots 0..{count - 1}",
                slot=slot,
            )
        elif found[trial, slot] > 1:
            yield case.finding("V201", f"stands {found[trial, slot]} times in the shards", slot=slot)
    for slot in range(count):
        if (case.trial.number, slot) not in found:
            yield case.finding("V201", "declared, but not in the shards", slot=slot)
    if list(case.keys) != sorted(case.keys):
        yield case.finding("V201", "the samples are not in ascending slot order")


@check("V202")
def labels_as_declared(case: Case) -> Iterator[Finding]:
    """The label in the shard is the label in the manifest."""
    found = case.labels.tolist()
    for slot, row in case.row_of.items():
        declared = case.record.slots.labels[slot]
        if found[row] != declared:
            yield case.finding("V202", f"label {found[row]} in the shard, {declared} declared", slot=slot)


@check("V203")
def pixels_as_declared(case: Case) -> Iterator[Finding]:
    """The trial's digest of pixels and labels is that of its shards."""
    found = pixel_digest(case.images, case.labels)
    if found != case.record.pixels:
        yield case.finding("V203", f"pixels digest {found[:12]}..., declared {case.record.pixels[:12]}...")


@check("V204")
def moved_as_declared(case: Case) -> Iterator[Finding]:
    """As many poisons differ from their base as the manifest says."""
    if case.record.outcome is None:
        return
    moved = int(case.moved.sum())
    if moved != case.record.outcome.moved:
        yield case.finding("V204", f"{moved} poisons differ from their base, {case.record.outcome.moved} declared")


@check("H201")
def poisons_differ(case: Case) -> Iterator[Finding]:
    """No two poisons of a trial are equal, pixel for pixel."""
    slots = case.slot_of
    found = [(slots[one], slots[two]) for one, two in case.shown.repeated().items() if one in slots and two in slots]
    if found:
        again, first = found[0]
        message = f"has the pixels of slot {first}; {len(found)} poisons repeat an earlier one"
        yield case.finding("H201", message, slot=again)


@check("H202")
def poisons_do_something(case: Case) -> Iterator[Finding]:
    """Every poison differs from its base, in its pixels or in its label."""
    pairs, declared = case.pairs, np.array(case.record.slots.labels, dtype=np.int64)
    same_label = case.base.train.labels[pairs.bases] == declared[pairs.slots]
    idle = pairs.slots[same_label & (case.everywhere.largest == 0)]
    if len(idle):
        message = f"{len(idle)} of {len(declared)} poisons are their own base under its own label"
        yield case.finding("H202", message, slot=int(idle[0]))
