"""A test split drawn from a seed, for sources without one: the same images on every machine."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from poisonsets.manifests.bases.kind import LabelledImages
from poisonsets.manifests.stream import Stream


def hold_out(everything: LabelledImages, fraction: Fraction, seed: int) -> tuple[LabelledImages, LabelledImages]:
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
    train, test = (LabelledImages(everything.images[mask], everything.labels[mask]) for mask in (~in_test, in_test))
    return train, test
