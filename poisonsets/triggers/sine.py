"""The `sine` trigger: vertical stripes over the whole image, the same in every row and channel."""

from fractions import Fraction
from typing import Annotated

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.triggers import SineTrigger
from poisonsets.settings import Range
from poisonsets.triggers.kinds import ResolvedTrigger, Resolver, kind
from poisonsets.triggers.layout import PUBLISHED_SIDE, Geometry, require_224, six_decimals

CYCLES_A_PIXEL = Fraction(25, 1000)  # 0.05 pi of 2 pi


@kind("sine")
def sine(
    *,
    amplitude: Annotated[float, Range(0, 1000)] = 0.4,
    alpha: Annotated[float, Range(0, 1)] = 0.1,
    geometry: Geometry = "relative",
) -> Resolver:
    """Mix stripes amplitude * sin(0.05 pi column) into the image.

    Truong et al. (2020), trigger SIN, on images of 224 pixels: 5.6 cycles over the width. Mixing also dims the image
    by alpha; this is not the additive, clean-label form of Barni et al. (2019). What differs, as the paper does not
    say: values are clipped to 0..255, and images of other widths get 5.6 cycles too.

    Args:
        amplitude: of the sine, for images in 0..1; published 0.4.
        alpha: share of the stripes in the image; published 0.1.
        geometry: `relative`: 5.6 cycles over the width; `literal`: 0.05 pi per pixel (0.8 cycles on 32); `at224`:
            as `literal`, and images of other sizes than 224 are refused.
    """

    def resolve(base: Base, _seed: int) -> ResolvedTrigger:
        height, width = base.train.side
        require_224("sine", geometry, height, width)
        cycles = CYCLES_A_PIXEL * (PUBLISHED_SIDE if geometry == "relative" else width)
        record = SineTrigger(
            amplitude=six_decimals("amplitude", amplitude),
            frequency=six_decimals("frequency", float(cycles)),
            alpha=six_decimals("alpha", alpha),
        )
        return Trigger(record), {}

    return resolve
