"""The `image` trigger: a full picture mixed into the image."""

from typing import Annotated

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.triggers import ImageTrigger
from poisonsets.settings import Range
from poisonsets.triggers import pictures
from poisonsets.triggers.kinds import ResolvedTrigger, Resolver, kind
from poisonsets.triggers.layout import six_decimals


@kind("image")
def image(*, file: str = "", alpha: Annotated[float, Range(0, 1)] = 0.2) -> Resolver:
    """Mix a picture into the whole image.

    Chen et al. (2017), the blended injection strategy, whose keys have an alpha of 0.2. What differs: the picture is
    resized to the image, whatever its shape.

    Args:
        file: the path of a PNG without transparency; required.
        alpha: share of the picture.
    """

    def resolve(base: Base, _seed: int) -> ResolvedTrigger:
        if not file:
            raise UsageError("trigger image: no picture", "Give one: --trigger image,file=PATH.png")
        picture, name = pictures.read_opaque(file, *base.train.side)
        record = ImageTrigger(image=pictures.PICTURE_PATH, alpha=six_decimals("alpha", alpha))
        return Trigger(record, picture), {"file": name}

    return resolve
