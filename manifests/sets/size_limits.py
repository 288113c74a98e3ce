"""The most bytes that a file of a set can have, by what it is: whoever records more is refused before it is read."""

from __future__ import annotations

from poisonsets.manifests import limits
from poisonsets.manifests.files import png
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.writer import CARD


def most_bytes(manifest: Manifest, path: str) -> int:
    """An upper bound of the size of a listed file.

    Args:
        manifest: of the set; the base's image size bounds its shards.
        path: as listed.
    """
    if path == CARD:
        return limits.CARD_BYTES
    if path in manifest.trigger_pixels:
        return png.encoded_size(limits.IMAGE_SIDE, limits.IMAGE_SIDE)
    if path.endswith(".tar"):
        pin = manifest.base.splits["train"]
        return shard.encoded_size(limits.SLOTS_PER_SHARD, pin.height, pin.width)
    return limits.FILE_BYTES
