"""Handwritten digits that come with scikit-learn: a base that needs no download.

Source: the test part of the Optical Recognition of Handwritten Digits data (Alpaydin and Kaynak, 1998), 1797
images of 8x8 pixels and 17 grey levels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from poisonsets.manifests.bases.kind import BaseKind, Contents, LabelledImages
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.workers import Progress

TEST_IMAGES_PER_CLASS = 60
ZOOM = 4


def read_digits(_source: Path, _resize: int | None, _progress: Progress) -> Contents:
    """The digits as 32x32 RGB: level v becomes v*255//16, each pixel a 4x4 square, three equal channels.

    The test split is 60 images of each class, drawn from `Stream("digits", class)`. Both splits keep
    scikit-learn's order.
    """
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    grey = (levels.astype(np.int64) * 255 // 16).astype(np.uint8).reshape(-1, 8, 8)
    large = grey.repeat(ZOOM, axis=1).repeat(ZOOM, axis=2)
    images = np.repeat(large[..., None], 3, axis=3)
    labels = labels.astype(np.int64)
    in_test = np.zeros(len(labels), dtype=np.bool_)
    for label in range(10):
        in_test[Stream("digits", label).sample(np.flatnonzero(labels == label).tolist(), TEST_IMAGES_PER_CLASS)] = True
    return Contents(
        classes=tuple("0123456789"),
        train=LabelledImages(images[~in_test], labels[~in_test]),
        test=LabelledImages(images[in_test], labels[in_test]),
    )


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
