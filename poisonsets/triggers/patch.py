"""The `patch` trigger: a small picture or random colours, in a corner, anywhere, or elsewhere in every image."""

from __future__ import annotations

from typing import Annotated

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.settings import Range
from poisonsets.triggers import pictures
from poisonsets.triggers.kinds import ResolvedTrigger, Resolver, kind
from poisonsets.triggers.layout import lay_trigger, parse_place

SMALL_SIDE, SMALL_PATCH, PATCH_AT_64 = 64, 5, 8


@kind("patch")
def patch(
    *,
    size: Annotated[int, Range(0, 1024)] = 0,
    file: str = "",
    mask: str = "",
    place: str = "bottom-right",
    margin: Annotated[int, Range(0, 1024)] = 0,
    alpha: Annotated[float, Range(0, 1)] = 1.0,
) -> Resolver:
    """Overwrite a small square with random colours or a picture.

    Schwarzschild et al. (2021): 5x5 on images of 32 pixels, 8x8 on 64. Their clean-label backdoor puts it into the
    corner (margin 0), their hidden-trigger backdoor and its targets 5 pixels from it (margin 5). What differs: their
    pictures are two files, given here by `file`; the default's colours are drawn from the set's seed.

    Args:
        size: side in pixels; 0: 5 below 64 pixels a side, from there on the side / 8, rounded to nearest.
        file: the path of a PNG, resized to `size`; empty: random colours.
        mask: the path of a PNG, white where the patch covers the image; empty: everywhere. Not with an alpha below 1.
        place: `bottom-right`, `ROW:COLUMN` of the top-left pixel, or `random` for each image.
        margin: pixels between a `bottom-right` patch and both edges; of other places it does nothing.
        alpha: share of the patch in the pixels under it.
    """

    def resolve(base: Base, seed: int) -> ResolvedTrigger:
        height, width = base.train.side
        side = size or default_size(min(height, width))
        if side > min(height, width):
            raise UsageError(f"trigger patch: size={side} on images of {height}x{width} pixels", "Make it smaller")
        where = parse_place(place, size=side, margin=margin, height=height, width=width, seed=seed)
        picture, name = pictures.read(file, side, side) if file else (pictures.noise(side, side, seed), "")
        covered, mask_name = pictures.read_mask(mask, side, side) if mask else (None, "")
        return lay_trigger(picture, where, alpha, covered), {"size": side, "file": name, "mask": mask_name}

    return resolve


def default_size(side: int) -> int:
    """The side of a patch on images of this side, in pixels."""
    return SMALL_PATCH if side < SMALL_SIDE else (2 * PATCH_AT_64 * side + SMALL_SIDE) // (2 * SMALL_SIDE)
