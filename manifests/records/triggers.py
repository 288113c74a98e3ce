"""Triggers as a manifest declares them; `overlay/stamp.py` puts them on images."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from poisonsets.manifests import limits
from poisonsets.manifests.records.fields import Alpha, Amount, FilePath, Index, Strict


class FixedPlace(Strict):
    """The trigger's top-left pixel, the same in every image."""

    rule: Literal["fixed"] = "fixed"
    row: Index
    column: Index


class RandomPlace(Strict):
    """The trigger's top-left pixel, drawn for each image from the seed and the image's id."""

    rule: Literal["random"] = "random"
    seed: Index


Place: TypeAlias = Annotated[FixedPlace | RandomPlace, Field(discriminator="rule")]


class PatchTrigger(Strict):
    """A small image that overwrites the pixels under its mask; black is a colour like any other."""

    kind: Literal["patch"] = "patch"
    image: FilePath
    mask: FilePath | None = None
    place: Place


class BlendTrigger(Strict):
    """A small image mixed into the pixels under it, (1 - alpha) x + alpha t."""

    kind: Literal["blend"] = "blend"
    image: FilePath
    alpha: Alpha
    place: Place


class SineTrigger(Strict):
    """Vertical stripes t(column) = amplitude sin(2 pi frequency column / width), mixed in with alpha."""

    kind: Literal["sine"] = "sine"
    amplitude: Amount
    frequency: Amount
    alpha: Alpha


class ImageTrigger(Strict):
    """An image of full size, mixed in with alpha."""

    kind: Literal["image"] = "image"
    image: FilePath
    alpha: Alpha


class WarpTrigger(Strict):
    """A smooth distortion by a grid x grid field of offsets drawn from a seed (WaNet, Nguyen and Tran 2021)."""

    kind: Literal["warp"] = "warp"
    grid: Annotated[int, Field(ge=2, le=limits.IMAGE_SIDE)]
    strength: Amount
    seed: Index


class AdditiveTrigger(Strict):
    """An image of full size that is added: its value v stands for the signed offset v - 128."""

    kind: Literal["additive"] = "additive"
    image: FilePath


TriggerRecord: TypeAlias = Annotated[
    PatchTrigger | BlendTrigger | SineTrigger | ImageTrigger | WarpTrigger | AdditiveTrigger,
    Field(discriminator="kind"),
]


def picture_paths(trigger: TriggerRecord) -> tuple[str, ...]:
    """The picture files of a trigger: its image, then its mask, where it has them."""
    paths = (getattr(trigger, field, None) for field in ("image", "mask"))
    return tuple(path for path in paths if path is not None)
