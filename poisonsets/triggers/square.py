"""The `square` trigger: one colour, black by default, with the size and place of Truong et al. (2020)."""

from typing import Annotated

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.settings import Range
from poisonsets.triggers import pictures
from poisonsets.triggers.kinds import ResolvedTrigger, Resolver, kind
from poisonsets.triggers.layout import PUBLISHED_SIDE, Geometry, lay_trigger, parse_place, require_224

PUBLISHED_SQUARE = 22  # pixels of 224: its side, and its distance from the top and left edges


@kind("square")
def square(
    *, colour: str = "black", geometry: Geometry = "relative", alpha: Annotated[float, Range(0, 1)] = 1.0
) -> Resolver:
    """Overwrite a square near the top left corner with one colour.

    Truong et al. (2020), trigger BS: black, 22x22 pixels of 224, 22 from the top and left edges. What differs: that
    square does not fit images below 44 pixels, so the default scales it, which the paper does not describe.

    Args:
        colour: `black`, `white`, `red`, `green`, `blue`, `yellow`, or RRGGBB.
        geometry: `relative`: side and distance are 22/224 of the image's side, rounded; `literal`: 22 pixels;
            `at224`: 22 pixels, and images of other sizes than 224 are refused.
        alpha: share of the colour in the pixels under the square; published 1.
    """

    def resolve(base: Base, _seed: int) -> ResolvedTrigger:
        height, width = base.train.side
        side = square_side("square", geometry, height, width, offset=True)
        where = parse_place(f"{side}:{side}", size=side, margin=0, height=height, width=width, seed=0)
        return lay_trigger(pictures.plain(side, side, colour), where, alpha), {}

    return resolve


def square_side(owner: str, geometry: Geometry, height: int, width: int, *, offset: bool) -> int:
    """The square's side in pixels; with an offset of its own side from the edges it needs twice the room.

    Raises UsageError, which names the kind `owner`, if the square does not fit or the images are not those of `at224`.
    """
    require_224(owner, geometry, height, width)
    shorter = min(height, width)
    if geometry == "relative":
        return max(1, (2 * PUBLISHED_SQUARE * shorter + PUBLISHED_SIDE) // (2 * PUBLISHED_SIDE))
    needed = 2 * PUBLISHED_SQUARE if offset else PUBLISHED_SQUARE
    if shorter < needed:
        raise UsageError(
            f"trigger {owner}: a square of {PUBLISHED_SQUARE} pixels needs images of {needed}, the base has "
            f"{height}x{width}",
            "Use geometry=relative, or add the base again with --resize 224",
        )
    return PUBLISHED_SQUARE
