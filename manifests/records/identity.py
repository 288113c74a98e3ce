"""The content digest: the identity of a poison set, whatever tool, settings, hosts, times or sharding it came from."""

import hashlib
from typing import Any

from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.records.manifest import Manifest


def content_digest(manifest: Manifest) -> str:
    """The digest over what victims see and verifiers check (SPEC.md section 5); the declared one does not count.

    Triggers and their pictures count by what they are, not by their names and paths.
    """
    trials = []
    for trial in manifest.trials:
        entry = trial.model_dump(mode="json", exclude={"outcome"})
        for role in ("trigger", "test_trigger"):
            if entry[role] is not None:
                entry[role] = _trigger(manifest, entry[role])
        trials.append(entry)
    base = manifest.base
    splits = {name: split.digest for name, split in base.splits.items()}
    document = {"base": splits, "victim_classes": list(base.victim_classes), "trials": trials}
    return hashlib.sha256(canonical_json.dumps(document)).hexdigest()


def _trigger(manifest: Manifest, name: str) -> dict[str, Any]:
    record = manifest.triggers[name].model_dump(mode="json")
    for field in ("image", "mask"):
        if record.get(field) is not None:
            record[field] = manifest.trigger_pixels[record[field]]
    return record
