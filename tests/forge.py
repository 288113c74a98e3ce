"""Small poison sets to test with, and a forger: it edits a set and recomputes every hash, as a liar would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw, craft_request
from poisonsets.crafting.request import CraftRequest
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.records import identity
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.shards import shard_path
from poisonsets.manifests.records.trial import Add, InPlace, Slots, Supplant, Trial, Unconstrained
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.findings import Report
from poisonsets.manifests.verification.verify import verify


def small_base(classes: int = 3, each: int = 12, side: int = 8, seed: int = 0) -> Base:
    """A base of random images: `each` training and half as many test images a class."""
    rng = np.random.default_rng(seed)

    def split(count: int) -> Split:
        labels = np.repeat(np.arange(classes, dtype=np.int64), count)
        rng.shuffle(labels)
        return Split(rng.integers(0, 256, (len(labels), side, side, 3), dtype=np.uint8), labels)

    everything = tuple(range(classes))
    names = tuple(f"class {label}" for label in everything)
    return Base("small", names, split(each), split(each // 2), everything, everything, mirror=False)


def noise_request(base: Base, *, trials: int = 2, levels: int = 8, seed: int = 3, poisons: int = 4) -> CraftRequest:
    """A request for a noise set; it needs no network."""
    asked = Draw(poisons=poisons)
    return craft_request(
        "noise", base, name="small noise", trials=range(trials), epsilon=levels, seed=seed, asked=asked
    )


def small_set(folder: Path, base: Base, **options: Any) -> Path:
    """Craft a noise set of two trials with four poisons each."""
    craft_set(folder, noise_request(base, **options))
    return folder


def bare_trial(
    bases: Sequence[int | None], labels: Sequence[int], composition: Add | InPlace | Supplant = InPlace()
) -> Trial:
    """A trial for what looks at slots and composition alone."""
    return Trial(
        trial=0,
        source_classes=(0,),
        adversarial_label=1,
        labels="adversarial",
        constraint=Unconstrained(),
        composition=composition,
        slots=Slots(bases=tuple(bases), labels=tuple(labels)),
        pixels="0" * 64,
    )


def base_of_another_height(draft: Draft) -> None:
    """The shards have images of the declared size; the base has not, so there is nothing to compare them with."""
    for split in draft.manifest["base"]["splits"].values():
        split["height"] = 9
    for images in draft.images.values():
        images[:] = [np.concatenate([image, image[:1]]) for image in images]


def check(folder: Path, base: Base) -> Report:
    """Verify a set against a base in memory."""
    return verify(folder, lambda pin: base)


@dataclass
class Draft:
    """A set taken apart: the manifest as a document, and for each trial its samples as lists one can edit."""

    manifest: dict[str, Any]
    slots: dict[int, list[int]] = field(default_factory=dict)
    labels: dict[int, list[int]] = field(default_factory=dict)
    images: dict[int, list[np.ndarray]] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)

    def trial(self, number: int) -> dict[str, Any]:
        return next(trial for trial in self.manifest["trials"] if trial["trial"] == number)


def forge(source: Path, destination: Path, edit: Callable[[Draft], None]) -> Path:
    """A copy of a set with `edit` applied to it and every hash, size and digest recomputed."""
    opened = open_set(source)
    draft = Draft(opened.manifest.model_dump(mode="json"))
    for trial in opened.trials:
        samples = trial.samples()
        draft.slots[trial.number] = samples.slots.tolist()
        draft.labels[trial.number] = samples.labels.tolist()
        draft.images[trial.number] = [image.copy() for image in samples.images]
    edit(draft)
    kept = [record.path for record in opened.manifest.files if not record.path.startswith("poisons/")]
    files = {name: (source / name).read_bytes() for name in kept}
    files.update(draft.extra)
    for number, images in draft.images.items():
        labels = np.array(draft.labels[number], dtype=np.int64)
        draft.trial(number)["pixels"] = pixel_digest(np.stack(images), labels)
        files[shard_path(number, 0)] = tar(number, draft.slots[number], images, labels)
    draft.manifest["shards"] = [
        {"path": shard_path(one["trial"], 0), "trials": [one["trial"]], "samples": len(one["slots"]["labels"])}
        for one in draft.manifest["trials"]
    ]
    draft.manifest["files"] = [
        {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    draft.manifest["content_digest"] = identity.content_digest(Manifest.model_validate_json(json.dumps(draft.manifest)))
    files["manifest.json"] = canonical_json.checksummed(draft.manifest)
    files["run.json"] = (source / "run.json").read_bytes()
    for name, data in files.items():
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        (destination / name).write_bytes(data)
    return destination


def tar(number: int, slots: list[int], images: list[np.ndarray], labels: np.ndarray) -> bytes:
    """A canonical shard with any slots in any order: single-sample shards with their ends cut, joined."""
    members = []
    for slot, image, label in zip(slots, images, labels, strict=True):
        one = shard.encode(number, slot, image[None], np.array([label], dtype=np.int64))
        cls, header, body = 1024, 512, -(-len(shard.png.encode(image)) // 512) * 512
        members.append(one[: cls + header + body])
    data = b"".join(members) + bytes(1024)
    return data + bytes(-len(data) % 10240)


def rewritten(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit a JSON file of a set in place, keeping it canonical, its checksum wrong."""
    path = folder / name
    document = canonical_json.loads(path.read_bytes(), name)
    change(document)
    path.write_bytes(canonical_json.dumps(document))
