"""Images and labels as arrays, and the digest that names them by what they show."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


Labels = NDArray[np.int64]


def pixel_digest(images: Images, labels: Labels) -> str:
    """The sha256 that names images and labels by what they show (SPEC.md section 3).

    Args:
        images: uint8 [N, H, W, 3], RGB.
        labels: int64 [N].
    """
    n, height, width, _ = images.shape
    digest = hashlib.sha256(f"pixels/1 {n} {height} {width}\n".encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def image_digest(image: Images, label: int = 0) -> str:
    """As `pixel_digest`, of one image, uint8 [H, W, 3]; a picture without a label, as of a trigger, has 0."""
    return pixel_digest(image[None], np.array([label], dtype=np.int64))
