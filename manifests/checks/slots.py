"""Slots: the shards hold exactly the declared poisons, in order, with the declared labels and pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from poisonsets.manifests.bases.dataset import pixel_digest
from poisonsets.manifests.checks import Case, check
from poisonsets.manifests.findings import Finding


@check("V201")
def slots_complete(case: Case) -> Iterator[Finding]:
    """Every declared slot is in the shards exactly once, in order, and no other."""
    count = len(case.record.slots.labels)
    found = Counter(case.keys)
    for trial, slot in sorted(found):
        if trial != case.trial.number or slot >= count:
            yield case.violation(
                "V201",
                f"the shards hold sample {trial:05d}-{slot:08d}, the manifest declares slots 0..{count - 1}",
                slot=slot,
            )
        elif found[trial, slot] > 1:
            yield case.violation("V201", f"stands {found[trial, slot]} times in the shards", slot=slot)
    for slot in range(count):
        if (case.trial.number, slot) not in found:
            yield case.violation("V201", "declared, but not in the shards", slot=slot)
    if list(case.keys) != sorted(case.keys):
        yield case.violation("V201", "the samples are not in ascending slot order")


@check("V202")
def labels_as_declared(case: Case) -> Iterator[Finding]:
    """The label in the shard is the label in the manifest."""
    for slot, row in case.row_of.items():
        declared = case.record.slots.labels[slot]
        if case.labels[row] != declared:
            yield case.violation("V202", f"label {case.labels[row]} in the shard, {declared} declared", slot=slot)


@check("V203")
def pixels_as_declared(case: Case) -> Iterator[Finding]:
    """The trial's digest of pixels and labels is that of its shards."""
    found = pixel_digest(case.images, case.labels)
    if found != case.record.pixels:
        yield case.violation("V203", f"pixels digest {found[:12]}..., declared {case.record.pixels[:12]}...")


@check("V204")
def moved_as_declared(case: Case) -> Iterator[Finding]:
    """As many poisons differ from their base as the manifest says."""
    if case.record.outcome is None:
        return
    moved = int(case.moved.sum())
    if moved != case.record.outcome.moved:
        yield case.violation("V204", f"{moved} poisons differ from their base, {case.record.outcome.moved} declared")
