"""What makes two poison sets the same set: the content digest; and the checksums that guard a file against damage.

The content digest covers what a victim and a verifier see: base, victims' classes, and everything that is recorded of
a trial but how its crafting went. It does not cover versions, hosts, times, settings or how the poisons are cut into
shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.records.triggers import TriggerRecord


def content_digest(
    base: BasePin,
    trials: tuple[Trial, ...],
    triggers: Mapping[str, TriggerRecord],
    trigger_pixels: Mapping[str, str],
) -> str:
    """The identity of a poison set (SPEC.md section 5).

    Args:
        base: the pinned base; its split digests count, and the classes that victims know.
        trials: every trial, with the digest of its poisons' pixels and labels.
        triggers: the declared triggers by name; a name itself does not count, what it stands for does.
        trigger_pixels: for each trigger picture file the digest of its pixels.
    """
    described = []
    for trial in trials:
        entry = trial.model_dump(mode="json", exclude={"outcome"})
        for role in ("trigger", "test_trigger"):
            if entry[role] is not None:
                entry[role] = _trigger_identity(triggers[entry[role]], trigger_pixels)
        described.append(entry)
    splits = {name: split.digest for name, split in base.splits.items()}
    document = {"base": splits, "victim_classes": list(base.victim_classes), "trials": described}
    return hashlib.sha256(canonical_json.dumps(document)).hexdigest()


def digest_of(manifest: Manifest) -> str:
    """The content digest that a manifest's other fields come to."""
    return content_digest(manifest.base, manifest.trials, manifest.triggers, manifest.trigger_pixels)


def _trigger_identity(record: TriggerRecord, pixels: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = record.model_dump(mode="json")
    for field in ("image", "mask"):
        if entry.get(field) is not None:
            entry[field] = pixels[entry[field]]
    return entry
