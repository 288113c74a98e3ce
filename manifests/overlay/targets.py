"""The images that a trial's victims are scored on: its targets and the test images of its source classes, stamped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger, stamp
from poisonsets.manifests.records.trial import FileTarget, SplitTarget, Trial


@dataclass(frozen=True)
class TargetImage:
    """An image that victims are scored on, uint8 [H, W, 3]: plain, and stamped with the trial's trigger, if any."""

    record: SplitTarget | FileTarget
    plain: Images
    stamped: Images

    @property
    def label(self) -> int:
        """Its true label."""
        return self.record.label

    @property
    def index(self) -> int | None:
        """Its index in its split; None for a target in a file."""
        return None if isinstance(self.record, FileTarget) else self.record.index


def plain_image(target: SplitTarget | FileTarget, base: Base, from_file: Callable[[str], Images]) -> Images:
    """A target without its trigger, uint8 [H, W, 3]; `from_file` gives a sample of `targets.tar` by key.

    Raises:
        UsageError: it is not in the base.
    """
    if isinstance(target, FileTarget):
        return from_file(target.key)
    split = base.split(target.split)
    if target.index >= len(split.labels):
        raise UsageError(
            f"target {target.image_id} is not in {base.name}, whose {target.split} split has {len(split.labels)} images"
        )
    image: Images = split.images[target.index]
    return image


def target_images(
    targets: Iterable[SplitTarget | FileTarget],
    base: Base,
    trigger: Trigger | None,
    from_file: Callable[[str], Images],
) -> list[TargetImage]:
    """The images of these targets, in order; `from_file` as for `plain_image`.

    Raises:
        UsageError: one is not in the base, or the trigger does not fit.
    """
    found = []
    for target in targets:
        plain = plain_image(target, base, from_file)
        found.append(TargetImage(target, plain, plain if trigger is None else stamp(plain, trigger, target.image_id)))
    return found


def source_class_targets(trial: Trial, base: Base) -> list[SplitTarget]:
    """Every test image of the trial's source classes, in the base's order."""
    labels = base.test.labels
    ids = np.flatnonzero(np.isin(labels, trial.source_classes)).tolist()
    return [SplitTarget(split="test", index=index, label=int(labels[index])) for index in ids]


def stacked(images: Sequence[TargetImage], base: Base) -> Images:
    """The stamped images, uint8 [K, H, W, 3]."""
    stamped = [image.stamped for image in images]
    return np.stack(stamped) if stamped else np.zeros((0, *base.train.side, 3), dtype=np.uint8)
