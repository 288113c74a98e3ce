"""Whether a network's pre-training has seen the images that it is tested on, from what its file says of its data."""

import re
from typing import Final

from poisonsets.victims.networks.weights import Weights

_WITHIN: Final = {"tinyimagenet": ("imagenet", "ilsvrc")}
"""Bases, without spaces and signs, whose images are also in the data sets that begin so, of any size and year."""


def seen_in_pretraining(extractor: Weights | None, base: str) -> bool:
    """Whether imported weights were trained on a data set that holds the base's images.

    A network that `train` made says by its classes and its base what it saw, and is what published setups pre-train; it
    counts as not seen.

    Args:
        extractor: what a victim starts from; None from scratch.
        base: the name of the base.
    """
    if extractor is None or not extractor.record["pretraining"].get("imported"):
        return False
    dataset = _plain(str(extractor.record["pretraining"].get("dataset", "")))
    kind = re.split("[:@]", base)[0]
    for half in ("-first", "-second"):
        kind = kind.removesuffix(half)
    kind = _plain(kind)
    return bool(dataset) and (dataset == kind or dataset.startswith(_WITHIN.get(kind, ())))


def _plain(text: str) -> str:
    return re.sub("[^a-z0-9]", "", text.lower())
