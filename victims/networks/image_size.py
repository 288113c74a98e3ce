"""Whether a network can take images of a given size, checked before training."""

import copy
from dataclasses import replace
from typing import Final

import torch

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import Classifier

_USUAL: Final = 224


def refuse_size(network: Classifier, side: tuple[int, int]) -> None:
    """Raise a UsageError, with the reason of `misfit`, where the network cannot take images of this size."""
    if (found := misfit(network, side)) is not None:
        raise UsageError(found, enlarged(network))


def enlarged(network: Classifier) -> str:
    """The remedy for a network that cannot take a base's images: its first layer brings them to another size."""
    body = network.body
    side = body.made_for or (body.smallest if body.smallest > 1 else _USUAL)
    return f"Add `input={side}` to the network, {replace(network.spec.shape, input=side)}, or use another one"


@torch.no_grad()
def misfit(network: Classifier, side: tuple[int, int]) -> str | None:
    """Try one black image of `side` (height, width) on a copy of the network.

    Returns:
        Why it cannot take images of this size, or None where it can.
    """
    probe = copy.deepcopy(network).cpu().eval()
    size = f"{side[0]}x{side[1]} pixels"
    try:
        shape = tuple(probe(torch.zeros(1, 3, *side)).shape)
    except (RuntimeError, ValueError) as error:
        return f"{_name(network)} cannot take images of {size} ({_reason(error)})"
    if shape == (1, network.spec.classes):
        return None
    return f"{_name(network)} gives {list(shape)} for one image of {size}, wanted {[1, network.spec.classes]}"


@torch.no_grad()
def refuse_single(network: Classifier, side: tuple[int, int], *, images: int, batch: int) -> None:
    """Refuse steps of a single image where the network cannot train on one.

    Batch normalisation needs two values a channel: one image is enough while its maps have more than one pixel.

    Args:
        network: not changed.
        side: height and width of the images.
        images: how many an epoch has.
        batch: images a step; the last step of an epoch takes what is left.

    Raises:
        UsageError: a step has one image, and the network refuses it.
    """
    if batch > 1 and images % batch != 1:
        return
    probe = copy.deepcopy(network).cpu().train()
    try:
        probe(torch.zeros(1, 3, *side))
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"{images} images in batches of {batch} leave a step of one image, and {_name(network)} cannot train on "
            f"one of {side[0]}x{side[1]} pixels ({_reason(error)})",
            f"Use another batch size, for instance {_other(images, batch)}" if images > 1 else "Use more images",
        ) from error


def _other(images: int, batch: int) -> int:
    """The next larger batch size that leaves no single image, at the latest one of all images."""
    return next(size for size in range(max(batch, 1) + 1, images + batch + 2) if images % size != 1)


def _name(network: Classifier) -> str:
    return str(network.spec.shape)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
