"""A trial's targets as other formats can express them: test images, or separate images."""

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.targets import TargetImage
from poisonsets.manifests.sets.reader import OpenTrial


def exported_targets(trial: OpenTrial, base: Base) -> list[TargetImage]:
    """The targets of a trial, in order.

    Raises:
        DamagedError: `targets.tar` is not as recorded.
        UsageError: one is not in the base, or is a training image, which no other format can express.
    """
    found = trial.targets(base)
    for one in found:
        if one.record.image_id.startswith("train/"):
            raise UsageError(f"the target {one.record.image_id} is a training image, which is not exported")
    return found


def shown_index(target: TargetImage) -> int | None:
    """A target's index in the test split, for formats that store it stamped; None if the stamped image differs."""
    return target.index if np.array_equal(target.plain, target.stamped) else None
