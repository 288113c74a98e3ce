"""What an export is given of a trial: its targets as they are, without and with the trigger."""

from __future__ import annotations

from dataclasses import dataclass

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import FileTarget, SplitTarget
from poisonsets.manifests.sets.reader import OpenTrial, PoisonSet


@dataclass(frozen=True)
class GivenTarget:
    """A target of a set.

    Attributes:
        image: uint8 [H, W, 3], without the trigger.
        stamped: the same as the victim meets it.
        label: its true label.
        index: into the base's test split; None of an image of its own.
        image_id: names it for a trigger's random place.
    """

    image: Images
    stamped: Images
    label: int
    index: int | None
    image_id: str


def targets_of(opened: PoisonSet, trial: OpenTrial, base: Base) -> list[GivenTarget]:
    """The targets of a trial, in their order.

    Raises:
        DamagedError: `targets.tar` is not what the manifest recorded.
        UsageError: one is not in the base, or is a training image, which no other format can say.
    """
    found = []
    for target, stamped in zip(trial.record.targets, trial.target_images(base), strict=True):
        if isinstance(target, FileTarget):
            image, index, image_id = opened.target_file(target.key), None, f"file/{target.key}"
        else:
            image, index, image_id = _of_split(target, base), target.index, f"{target.split}/{target.index}"
        found.append(GivenTarget(image, stamped, target.label, index, image_id))
    return found


def _of_split(target: SplitTarget, base: Base) -> Images:
    if target.split != "test":
        raise UsageError(f"the target {target.split}/{target.index} is a training image, which is not exported")
    image: Images = base.test.images[target.index]
    return image
