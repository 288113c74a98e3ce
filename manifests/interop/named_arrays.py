"""A trial as named arrays, for the formats `numpy` and `hdf5`."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.interop.export_targets import exported_targets, shown_index
from poisonsets.manifests.interop.format import ForeignTarget, ForeignTrial
from poisonsets.manifests.interop.image_arrays import channels_last, indices, optional_values
from poisonsets.manifests.overlay.targets import stacked
from poisonsets.manifests.sets.reader import OpenTrial

RANKS: Final = {
    "poisons": 4,
    "labels": 1,
    "bases": 1,
    "targets": 4,
    "target_labels": 1,
    "target_indices": 1,
    "adversarial_label": 1,
}


def trial_arrays(trial: OpenTrial, base: Base) -> dict[str, NDArray[Any]]:
    """The arrays of a trial; targets are stamped, and -1 stands for an unknown base or no test image.

    poisons uint8 [P, H, W, 3], labels and bases int64 [P], targets uint8 [K, H, W, 3], target_labels and
    target_indices int64 [K], adversarial_label int64 [1].
    """
    images, labels = trial.poisons()
    targets = exported_targets(trial, base)
    return {
        "poisons": images,
        "labels": labels,
        "bases": _numbers(trial.record.slots.bases),
        "targets": stacked(targets, base),
        "target_labels": _numbers([one.label for one in targets]),
        "target_indices": _numbers([shown_index(one) for one in targets]),
        "adversarial_label": _numbers([trial.record.adversarial_label]),
    }


def trial_from_arrays(found: Mapping[str, NDArray[Any]], where: str) -> ForeignTrial:
    """The trial in named arrays; all but `poisons` are optional.

    Raises:
        DamagedError: an array is unknown, or of the wrong length or type.
    """
    strange = sorted(set(found) - set(RANKS))
    if strange or "poisons" not in found:
        what = f"an unknown array {strange[0][:60]}" if strange else "no array poisons"
        raise DamagedError(f"{where}: {what}", f"Known are {', '.join(RANKS)}")
    pixels = channels_last(found["poisons"], "poisons")
    labels = indices(found["labels"], "labels") if "labels" in found else None
    bases = optional_values(indices(found["bases"], "bases")) if "bases" in found else None
    if labels is not None and len(labels) != len(pixels):
        raise DamagedError(f"{len(pixels)} poisons, {len(labels)} labels")
    stated = indices(found["adversarial_label"], "adversarial_label") if "adversarial_label" in found else ()
    if len(stated) > 1:
        raise DamagedError(f"adversarial_label: {len(stated)} values, one was expected")
    return ForeignTrial(
        pixels=pixels,
        labels=labels if labels is not None else (None,) * len(pixels),
        bases=bases,
        targets=_targets(found),
        adversarial_label=stated[0] if stated else None,
    )


def _targets(found: Mapping[str, NDArray[Any]]) -> tuple[ForeignTarget, ...]:
    columns = {name: found[name] for name in ("targets", "target_labels", "target_indices") if name in found}
    if any(array.ndim == 0 for array in columns.values()):
        raise DamagedError("targets, target_labels or target_indices is a single value, wanted one per target")
    if len({len(array) for array in columns.values()}) > 1:
        raise DamagedError("targets, target_labels and target_indices have different lengths")
    count = max((len(array) for array in columns.values()), default=0)
    images = columns.get("targets")
    if images is not None and count and (images.dtype != np.uint8 or images.ndim != 4):
        raise DamagedError(f"targets: {images.dtype} {list(images.shape)}, wanted uint8 [K, H, W, 3]")
    shown = channels_last(images, "targets") if images is not None and count else [None] * count
    labels, places = (
        optional_values(indices(columns[name], name)) if name in columns else (None,) * count
        for name in ("target_labels", "target_indices")
    )
    return tuple(
        ForeignTarget(None if image is None else np.ascontiguousarray(image), label, index)
        for image, label, index in zip(shown, labels, places, strict=True)
    )


def _numbers(values: Any) -> NDArray[np.int64]:
    return np.array([-1 if value is None else value for value in values], dtype=np.int64)
