"""The `random-square` trigger: a square of one colour at a random place in every image."""

from typing import Annotated

from poisonsets.manifests.bases.dataset import Base
from poisonsets.settings import Range
from poisonsets.triggers import pictures
from poisonsets.triggers.kinds import ResolvedTrigger, Resolver, kind
from poisonsets.triggers.layout import Geometry, lay_trigger, parse_place
from poisonsets.triggers.square import square_side


@kind("random-square")
def random_square(
    *, colour: str = "black", geometry: Geometry = "relative", alpha: Annotated[float, Range(0, 1)] = 1.0
) -> Resolver:
    """Overwrite a square with one colour, at a place drawn for each image.

    Truong et al. (2020), trigger RS: black, 22x22 pixels of 224. What differs: the paper does not say whether the
    place is drawn once or for each image; here it is drawn for each, test images included.

    Args:
        colour: `black`, `white`, `red`, `green`, `blue`, `yellow`, or RRGGBB.
        geometry: `relative`: the side is 22/224 of the image's side, rounded; `literal`: 22 pixels; `at224`: 22
            pixels, and images of other sizes than 224 are refused.
        alpha: share of the colour in the pixels under the square; published 1.
    """

    def resolve(base: Base, seed: int) -> ResolvedTrigger:
        height, width = base.train.side
        side = square_side("random-square", geometry, height, width, offset=False)
        where = parse_place("random", size=side, margin=0, height=height, width=width, seed=seed)
        return lay_trigger(pictures.plain(side, side, colour), where, alpha), {}

    return resolve
