"""Images and labels as arrays, and the digest that names them by what they show."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def pixel_digest(images: Images, labels: Labels) -> str:
    """The sha256 of RGB images, uint8 [N, H, W, 3], and their labels, int64 [N] (SPEC.md section 3)."""
    n, height, width, _ = images.shape
    digest = hashlib.sha256(f"pixels/1 {n} {height} {width}\n".encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def image_digest(image: Images, label: int = 0) -> str:
    """The `pixel_digest` of one image, uint8 [H, W, 3]; one without a label, such as a trigger's, has 0."""
    return pixel_digest(image[None], np.array([label], dtype=np.int64))
