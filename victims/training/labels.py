"""Labels as positions among a victim's classes, and the images of some classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images, Labels


def positions(labels: NDArray[np.int64], classes: Sequence[int]) -> NDArray[np.int64]:
    """Where each of the labels int64 [N] stands among the classes, which are in the order of a head's outputs.

    Raises:
        UsageError: a label is none of the classes.
    """
    place = {label: i for i, label in enumerate(classes)}
    values, inverse = np.unique(labels, return_inverse=True)
    if strange := set(values.tolist()) - set(place):
        raise UsageError(f"the training set has label {min(strange)}, the victim knows {list(classes)}")
    return np.array([place[value] for value in values.tolist()], dtype=np.int64)[inverse]


def images_of(split: Split, classes: Sequence[int]) -> tuple[Images, Labels]:
    """The split's images of some classes in its order, and the position of each one's label in `classes`."""
    kept = np.flatnonzero(np.isin(split.labels, classes))
    return split.images[kept], positions(split.labels[kept], classes)
