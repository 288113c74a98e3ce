"""A test split drawn from a seed, for sources without one: the same images on every machine."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np

from poisonsets.manifests.bases.kind import Labelled
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.stream import Stream


def parse_fraction(text: str) -> Fraction:
    """The fraction "a/b" with 0 < a/b < 1.

    Raises:
        UsageError: it is something else.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text, re.ASCII)
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise UsageError(f"holdout {text[:40]!r} is not a fraction between 0 and 1", "Write it like 1/20")
    return Fraction(int(match[1]), int(match[2]))


def hold_out(everything: Labelled, fraction: Fraction, seed: int) -> tuple[Labelled, Labelled]:
    """Train and test: floor(fraction N) images, at least one, drawn over all classes, become the test split.

    Both keep the source's order. The draw is `Stream("holdout", seed)`.

    Args:
        everything: N images.
        fraction: between 0 and 1.
        seed: the draw's seed.
    """
    total = len(everything.labels)
    drawn = Stream("holdout", seed).sample(range(total), max(1, int(fraction * total)))
    in_test = np.zeros(total, dtype=np.bool_)
    in_test[drawn] = True
    train, test = (Labelled(everything.images[mask], everything.labels[mask]) for mask in (~in_test, in_test))
    return train, test
