"""Tell the base's own images in a training set from all others."""

import hashlib
from collections import Counter

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images, Labels


class ImageMatcher:
    """Takes the images of a training set in order and keeps those that are not in the base's training split.

    An image is the base's own if a training image of the victims' classes has the same pixels and label and was not
    matched before: the second copy of an image that the base has once is another one. Images are compared by the
    sha256 of their pixels, so memory grows with the others only.

    Attributes:
        images, elsewhere, relabelled: counts as in `TrainingSetContents`.
    """

    def __init__(self, base: Base) -> None:
        train, (height, width) = base.train, base.train.side
        self._base, self._shape = base, (height, width, 3)
        self._wanted: dict[bytes, list[int]] = {}
        self._shown: set[bytes] = set()
        known = np.flatnonzero(np.isin(train.labels, base.victim_classes))
        # In reverse, so that `pop` gives the first that is left.
        for row in known[::-1].tolist():
            pixels = pixels_of(train.images[row])
            self._shown.add(pixels)
            self._wanted.setdefault(_key(pixels, int(train.labels[row])), []).append(row)
        self._pixels, self._labels = bytearray(), list[int]()
        self._met: dict[bytes, int] = {}
        self._digest = hashlib.sha256(f"samples/1 {height} {width}\n".encode())
        self.images = self.elsewhere = self.relabelled = 0

    def add(self, image: Images, label: int, where: str) -> None:
        """Take the next image, uint8 [H, W, 3]; `where` names it for errors.

        Raises:
            UsageError: it has another size or class than the base's, or there are too many others.
        """
        base = self._base
        if image.shape != self._shape:
            raise UsageError(
                f"{where}: {image.shape[1]}x{image.shape[0]} pixels, images of {base.name} have "
                f"{self._shape[1]}x{self._shape[0]}",
                "Name the base it was made from, in the size it was made with",
            )
        if label >= len(base.classes):
            message = f"{where}: class {label}, {base.name} has 0-{len(base.classes) - 1}"
            raise UsageError(message, "Name the base it was made from")
        pixels = pixels_of(image)
        self._digest.update(_key(pixels, label))
        self.images += 1
        if label not in base.victim_classes:
            self.elsewhere += 1
            return
        self._met.setdefault(pixels, label)
        if rows := self._wanted.get(_key(pixels, label)):
            rows.pop()
        else:
            self._keep(image, label, where)
            self.relabelled += pixels in self._shown and _key(pixels, label) not in self._wanted

    def _keep(self, image: Images, label: int, where: str) -> None:
        if len(self._labels) == limits.SLOTS_PER_TRIAL or len(self._pixels) + image.size > limits.FILE_BYTES:
            raise UsageError(
                f"{where}: more than {len(self._labels)} images are not those of {self._base.name}, too many to keep",
                "Name the base it was made from",
            )
        self._pixels += image.tobytes()
        self._labels.append(label)

    def others(self) -> tuple[Images, Labels]:
        """The images that are not the base's own, in order, uint8 [M, H, W, 3], and their labels. Call it last."""
        images = np.frombuffer(self._pixels, np.uint8).reshape(len(self._labels), *self._shape)
        return images, np.array(self._labels, dtype=np.int64)

    def other_labels(self) -> Counter[int]:
        """The number of others by label."""
        return Counter(self._labels)

    def missing(self) -> tuple[int, ...]:
        """The indices, ascending, of training images of the victims' classes that were not matched."""
        return tuple(sorted(row for rows in self._wanted.values() for row in rows))

    def label_of(self, image: Images) -> int | None:
        """The label of the first image trained on with these pixels, uint8 [H, W, 3]; None if there is none."""
        return self._met.get(pixels_of(image))

    def digest(self) -> str:
        """The sha256 of the labels and pixels of all images taken, in order."""
        return self._digest.hexdigest()


def pixels_of(image: Images) -> bytes:
    """The sha256 of an image's pixels."""
    return hashlib.sha256(image.tobytes()).digest()


def _key(pixels: bytes, label: int) -> bytes:
    return pixels + label.to_bytes(8, "little")
