"""The manifest's records of imported trials, and what they share: target images and triggers."""

from typing import Any

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import png
from poisonsets.manifests.files.pixels import Images, image_digest, pixel_digest
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.resolve import PixelTarget, ResolvedTrial
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.trial import Constraint, FileTarget, Outcome, SplitTarget, Trial, Unconstrained
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.reader import TARGETS


class RecordBuilder:
    """Builds records trial by trial; `trials` are the numbers of those built so far, in order."""

    def __init__(self, base: Base, claims: Claims) -> None:
        self._base = base
        self._claims = claims
        self._targets: list[PixelTarget] = []
        self._triggers: dict[str, Trigger] = {}
        self.trials: list[int] = []

    def record(self, number: int, resolved: ResolvedTrial) -> Trial:
        """The manifest's record of a trial."""
        self.trials.append(number)
        clean, pairs = self._base.train.images, zip(resolved.slots.bases, resolved.images, strict=True)
        moved = sum(base is None or not np.array_equal(image, clean[base]) for base, image in pairs)
        labels = np.array(resolved.slots.labels, dtype=np.int64)
        return Trial(
            trial=number,
            targets=tuple(self._target(one) for one in resolved.targets),
            source_classes=resolved.source_classes,
            adversarial_label=resolved.adversarial_label,
            labels=self._claims.labels,
            constraint=self._constraint(resolved),
            composition=self._claims.composition,
            trigger=None if resolved.trigger is None else self._trigger(resolved.trigger),
            slots=resolved.slots,
            pixels=pixel_digest(resolved.images, labels),
            outcome=Outcome(moved=moved),
        )

    def files(self) -> list[tuple[str, bytes]]:
        """The set's files other than shards and card."""
        found = [(path, png.encode(picture)) for path, picture in self._pictures().items()]
        if self._targets:
            images = np.stack([one.image for one in self._targets])
            labels = np.array([one.label for one in self._targets], dtype=np.int64)
            found.append((TARGETS, shard.encode(0, 0, images, labels)))
        return found

    def triggers(self) -> dict[str, Any]:
        """The manifest's `triggers` and `trigger_pixels`."""
        pixels = {path: image_digest(picture) for path, picture in self._pictures().items()}
        return {"triggers": {name: one.record for name, one in self._triggers.items()}, "trigger_pixels": pixels}

    def _pictures(self) -> dict[str, Images]:
        return {path: picture for one in self._triggers.values() for path, picture in one.pictures().items()}

    def _target(self, one: SplitTarget | PixelTarget) -> SplitTarget | FileTarget:
        if isinstance(one, SplitTarget):
            return one
        if len(self._targets) == limits.SLOTS_PER_SHARD:
            message = f"more than {limits.SLOTS_PER_SHARD} targets with pixels of their own"
            raise UsageError(message, "Import fewer trials per set")
        self._targets.append(one)
        pixels = image_digest(one.image, one.label)
        return FileTarget(key=shard.key_of(0, len(self._targets) - 1), label=one.label, pixels=pixels)

    def _trigger(self, trigger: Trigger) -> str:
        """The name of a trigger and of its pictures, which equal triggers share."""
        for name, known in self._triggers.items():
            if _identity(known) == _identity(trigger):
                return name
        name = f"trigger-{len(self._triggers):05d}"
        paths = {"image": f"triggers/{name}.png", "mask": f"triggers/{name}-mask.png"}
        has = {field: path for field, path in paths.items() if getattr(trigger.record, field, None) is not None}
        self._triggers[name] = Trigger(trigger.record.model_copy(update=has), trigger.image, trigger.mask)
        return name

    def _constraint(self, resolved: ResolvedTrial) -> Constraint:
        """The claimed constraint, exempting the trigger only if it is a patch."""
        claimed = self._claims.constraint
        patched = resolved.trigger is not None and resolved.trigger.record.kind == "patch"
        if patched or isinstance(claimed, Unconstrained):
            return claimed
        return claimed.model_copy(update={"exempt_trigger": False})


def _identity(trigger: Trigger) -> tuple[dict[str, Any], list[str]]:
    """A trigger's record without file names, and its pictures' digests."""
    record = trigger.record.model_dump(exclude={"image", "mask"})
    return record, [image_digest(picture) for picture in trigger.pictures().values()]
