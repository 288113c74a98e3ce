"""Trigger pictures: files have the declared pixels, masks are black and white, and triggers fit the images."""

from collections.abc import Iterator

import numpy as np

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import image_digest
from poisonsets.manifests.overlay.stamp import stamp
from poisonsets.manifests.records.triggers import PatchTrigger
from poisonsets.manifests.verification.check_registry import check_set
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedSet


@check_set("V103")
def pictures_as_declared(checked: CheckedSet) -> Iterator[Finding]:
    """Every trigger's picture has the declared pixels; a mask has its picture's size and is black and white."""
    opened = checked.opened
    for path, declared in opened.manifest.trigger_pixels.items():
        if image_digest(opened.picture(path)) != declared:
            yield Finding("V103", "the picture's pixels are not those declared", part=path)
    for _, record in sorted(opened.manifest.triggers.items()):
        if not isinstance(record, PatchTrigger) or record.mask is None:
            continue
        mask, picture = opened.picture(record.mask), opened.picture(record.image)
        if mask.shape != picture.shape:
            sizes = " and ".join(f"{one.shape[0]}x{one.shape[1]}" for one in (mask, picture))
            yield Finding("V103", f"mask and picture differ in size: {sizes}", part=record.mask)
        if not np.isin(mask, (0, 255)).all() or (mask != mask[:, :, :1]).any():
            yield Finding("V103", "a mask is white (255) or black (0) in all three channels", part=record.mask)


@check_set("V106")
def triggers_fit(checked: CheckedSet) -> Iterator[Finding]:
    """Every declared trigger can be put on the base's images."""
    for name in sorted(checked.opened.manifest.triggers):
        try:
            stamp(checked.base.train.images[0], checked.opened.trigger(name), "train/0")
        except UsageError as error:
            yield Finding("V106", error.message, part=f"trigger {name}")
