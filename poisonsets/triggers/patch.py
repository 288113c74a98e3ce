"""The `patch` trigger: a small picture or random colours in a corner, at a fixed place, or at random ones."""

from typing import Annotated

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.settings import Range
from poisonsets.triggers import pictures
from poisonsets.triggers.kinds import ResolvedTrigger, Resolver, kind
from poisonsets.triggers.layout import lay_trigger, parse_place


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

    Schwarzschild et al. (2021): 5x5 on images of 32 pixels, 8x8 on 64. Their clean-label backdoor puts it in the
    corner (margin 0), their hidden-trigger backdoor and its targets 5 pixels from it (margin 5). What differs: their
    two picture files are given here by `file`; by default the set's seed draws the colours.

    Args:
        size: side in pixels; 0: 5 on images below 64 pixels, otherwise their side / 8, rounded to nearest.
        file: the path of a PNG, resized to `size`, whose alpha is the mask; empty: random colours.
        mask: the path of a PNG, white where the patch covers the image; empty: everywhere. Requires an alpha of 1.
        place: `bottom-right`, `ROW:COLUMN` of the top-left pixel, or `random` for each image.
        margin: pixels between a `bottom-right` patch and both edges; ignored elsewhere.
        alpha: share of the patch in the pixels under it.
    """

    def resolve(base: Base, seed: int) -> ResolvedTrigger:
        height, width = base.train.side
        shorter = min(height, width)
        side = size or (5 if shorter < 64 else (shorter + 4) // 8)
        if side > shorter:
            raise UsageError(f"trigger patch: size={side} on images of {height}x{width} pixels", "Make it smaller")
        where = parse_place(place, size=side, margin=margin, height=height, width=width, seed=seed)
        drawn = pictures.noise(side, side, seed), None, ""
        picture, covered, name = pictures.read(file, side, side) if file else drawn
        mask_name = ""
        if mask:
            if covered is not None:
                raise UsageError(f"trigger patch: {file} has a mask already, its alpha", "Leave out mask=")
            covered, mask_name = pictures.read_mask(mask, side, side)
        return lay_trigger(picture, where, alpha, covered), {"size": side, "file": name, "mask": mask_name}

    return resolve
