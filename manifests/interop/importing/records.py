"""Settled trials as records of a manifest, and what several of them share: targets of their own, and triggers."""

from __future__ import annotations

from typing import Any

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import png
from poisonsets.manifests.files.pixels import Images, image_digest, pixel_digest
from poisonsets.manifests.interop.importing.claims import Declared
from poisonsets.manifests.interop.importing.resolve import OwnTarget, Settled
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.trial import Constraint, FileTarget, Outcome, SplitTarget, Trial, Unconstrained
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.reader import TARGETS


class Making:
    """The trials made so far.

    Attributes:
        made: the numbers of those that were, in their order.
    """

    def __init__(self, base: Base, declared: Declared) -> None:
        self._base = base
        self._declared = declared
        self._targets: list[OwnTarget] = []
        self._triggers: dict[str, Trigger] = {}
        self.made: list[int] = []

    def record(self, number: int, settled: Settled) -> Trial:
        """The manifest's record of a trial."""
        self.made.append(number)
        clean = self._base.train.images
        bases = settled.slots.bases
        moved = sum(
            base is None or not np.array_equal(image, clean[base])
            for base, image in zip(bases, settled.images, strict=True)
        )
        labels = np.array(settled.slots.labels, dtype=np.int64)
        return Trial(
            trial=number,
            targets=tuple(self._target(one) for one in settled.targets),
            source_classes=settled.source_classes,
            adversarial_label=settled.adversarial_label,
            labels=self._declared.labels,
            constraint=self._constraint(settled),
            composition=self._declared.composition,
            trigger=None if settled.trigger is None else self._trigger(settled.trigger),
            slots=settled.slots,
            pixels=pixel_digest(settled.images, labels),
            outcome=Outcome(moved=moved),
        )

    def files(self) -> list[tuple[str, bytes]]:
        """The set's files besides shards and card."""
        found = [(path, png.encode(picture)) for path, picture in self._pictures().items()]
        if self._targets:
            images = np.stack([one.image for one in self._targets])
            labels = np.array([one.label for one in self._targets], dtype=np.int64)
            found.append((TARGETS, shard.encode(0, 0, images, labels)))
        return found

    def triggers(self) -> dict[str, Any]:
        """The manifest's fields on triggers."""
        pixels = {path: image_digest(picture) for path, picture in self._pictures().items()}
        return {"triggers": {name: one.record for name, one in self._triggers.items()}, "trigger_pixels": pixels}

    def _pictures(self) -> dict[str, Images]:
        return {path: picture for one in self._triggers.values() for path, picture in one.pictures().items()}

    def _target(self, one: SplitTarget | OwnTarget) -> SplitTarget | FileTarget:
        if isinstance(one, SplitTarget):
            return one
        if len(self._targets) == limits.SLOTS_PER_SHARD:
            raise UsageError(
                f"more than {limits.SLOTS_PER_SHARD} targets with pixels of their own", "Import fewer trials a set"
            )
        self._targets.append(one)
        pixels = image_digest(one.image, one.label)
        return FileTarget(key=shard.key_of(0, len(self._targets) - 1), label=one.label, pixels=pixels)

    def _trigger(self, given: Trigger) -> str:
        """The name of a trigger; equal ones share it, and their pictures are called after it."""
        for name, known in self._triggers.items():
            if _alike(known, given):
                return name
        name = f"trigger-{len(self._triggers):05d}"
        paths = {"image": f"triggers/{name}.png", "mask": f"triggers/{name}-mask.png"}
        has = {field: path for field, path in paths.items() if getattr(given.record, field, None) is not None}
        self._triggers[name] = Trigger(given.record.model_copy(update=has), given.image, given.mask)
        return name

    def _constraint(self, settled: Settled) -> Constraint:
        """The declared one; only a trial with a patch can exempt it."""
        declared = self._declared.constraint
        patched = settled.trigger is not None and settled.trigger.record.kind == "patch"
        if patched or isinstance(declared, Unconstrained):
            return declared
        return declared.model_copy(update={"exempt_trigger": False})


def _alike(one: Trigger, other: Trigger) -> bool:
    """Whether two triggers do the same: equal records but for the names of files, and equal pictures."""
    named = {"image", "mask"}
    if one.record.model_dump(exclude=named) != other.record.model_dump(exclude=named):
        return False
    pairs = ((one.image, other.image), (one.mask, other.mask))
    return all(
        (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs
    )
