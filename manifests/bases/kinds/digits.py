"""Handwritten digits that come with scikit-learn: a base that needs no download.

Source: the test part of the Optical Recognition of Handwritten Digits data (Alpaydin and Kaynak, 1998), 1797
images of 8x8 pixels and 17 grey levels.
"""

import numpy as np

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.bases.kind import BaseKind, Contents, Source
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.workers import Progress


def read_digits(_source: Source, _resize: int | None, _progress: Progress) -> Contents:
    """The digits as 32x32 RGB: level v becomes v*255//16, each pixel a 4x4 square, three equal channels.

    The test split is 60 images of each class, drawn from `Stream("digits", class)`. Both splits keep
    scikit-learn's order.
    """
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    grey = (levels.astype(np.int64) * 255 // 16).astype(np.uint8).reshape(-1, 8, 8)
    images = np.repeat(grey.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    of_class = [np.flatnonzero(labels == label).tolist() for label in range(10)]
    drawn = [index for label in range(10) for index in Stream("digits", label).sample(of_class[label], 60)]
    train, test = Split(images, labels.astype(np.int64)).hold_out(drawn)
    return Contents(tuple("0123456789"), train, test)


KINDS = (
    BaseKind(
        name="digits",
        summary="handwritten digits of scikit-learn, 32x32; features from classes 0-4, poisons in 5-9",
        source="embedded",
        read=read_digits,
        mirror=False,
        victim_classes=(5, 6, 7, 8, 9),
        pretrain_classes=(0, 1, 2, 3, 4),
    ),
)
