"""The set as a whole: its identity, its pin of the base, and that every file serves a purpose."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poisonsets.manifests import identity
from poisonsets.manifests.bases.dataset import Base, pixel_digest
from poisonsets.manifests.checks import check_set
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import FileTarget
from poisonsets.manifests.reader import TARGETS, PoisonSet
from poisonsets.manifests.stamp import picture_digest
from poisonsets.manifests.writer import CARD, MANIFEST


def _violation(code: str, place: str, message: str) -> Finding:
    return Finding(code, "violation", place, message)


@check_set("V101")
def content_digest_as_declared(opened: PoisonSet, base: Base) -> Iterator[Finding]:  # noqa: ARG001
    """The declared content digest is that of the declared contents."""
    found, declared = identity.digest_of(opened.manifest), opened.manifest.content_digest
    if found != declared:
        yield _violation("V101", MANIFEST, f"content digest {found[:12]}..., declared {declared[:12]}...")


@check_set("V102")
def every_file_has_a_purpose(opened: PoisonSet, base: Base) -> Iterator[Finding]:  # noqa: ARG001
    """Every listed file is a declared trial's shard, trigger's picture, surrogate, target file or the card."""
    manifest = opened.manifest
    wanted = {path for trial in opened.trials for path in opened.shards_of(trial.number)}
    wanted |= {CARD} | set(manifest.trigger_pixels)
    surrogates = {f"surrogates/{one.digest}.safetensors" for one in manifest.surrogates if one.included}
    if any(isinstance(target, FileTarget) for trial in manifest.trials for target in trial.targets):
        wanted.add(TARGETS)
    listed = {record.path for record in manifest.files}
    for path in sorted(listed - wanted - surrogates):
        yield _violation("V102", path, "listed, but nothing in the manifest refers to it")
    for path in sorted((wanted | surrogates) - listed):
        yield _violation("V102", path, "the manifest refers to it, but does not list it")


@check_set("V103")
def pictures_as_declared(opened: PoisonSet, base: Base) -> Iterator[Finding]:  # noqa: ARG001
    """Every trigger's picture has the declared pixels."""
    for name in sorted(opened.manifest.triggers):
        for path, picture in opened.trigger(name).pictures().items():
            if picture_digest(picture) != opened.manifest.trigger_pixels[path]:
                yield _violation("V103", path, "the picture's pixels are not those declared")


@check_set("V104")
def base_as_declared(opened: PoisonSet, base: Base) -> Iterator[Finding]:
    """Class names, poison classes and image counts of the pinned base are those of the base."""
    declared, true = opened.manifest.base, base.pin()
    for field in ("classes", "poison_classes", "splits"):
        if getattr(declared, field) != getattr(true, field):
            yield _violation("V104", MANIFEST, f"the declared {field} of the base are not the base's own")


@check_set("V105")
def target_file_as_declared(opened: PoisonSet, base: Base) -> Iterator[Finding]:  # noqa: ARG001
    """Every target that is a sample of targets.tar is there, with the declared pixels."""
    for trial in opened.manifest.trials:
        for target in trial.targets:
            if not isinstance(target, FileTarget):
                continue
            place = f"trial {trial.trial}"
            try:
                image = opened.target_file(target.key)
            except DamagedError as error:
                yield _violation("V105", place, error.message)
                continue
            if pixel_digest(image[None], np.array([target.label], dtype=np.int64)) != target.pixels:
                yield _violation("V105", place, f"target {target.key} has other pixels than declared")
