"""Composition: the rule by which poisons enter the training set can be carried out on this base."""

from __future__ import annotations

from collections.abc import Iterator

from poisonsets.manifests.checks import Case, check
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import Supplant


@check("V601")
def removed_images_exist(case: Case) -> Iterator[Finding]:
    """A supplanting trial names different images of the training split, as many as it has poisons."""
    rule = case.record.composition
    if not isinstance(rule, Supplant):
        return
    if len(set(rule.removed)) != len(rule.removed):
        yield case.violation("V601", "an image is removed twice")
    outside = [index for index in rule.removed if index >= len(case.base.train.labels)]
    if outside:
        yield case.violation("V601", f"the removed image train/{outside[0]} does not exist")
    if len(rule.removed) != len(case.record.slots.labels):
        yield case.violation("V601", f"{len(rule.removed)} images removed for {len(case.record.slots.labels)} poisons")
