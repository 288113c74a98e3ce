"""Image files become uint8 RGB of one size; a file that is not a plain PNG or JPEG is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from poisonsets.manifests.bases.kind import LabelledImages
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.images import IMAGE_FILE_BYTES, decode
from poisonsets.manifests.limits import FILE_BYTES
from poisonsets.manifests.workers import Progress

PROGRESS_STEP: Final = 250  # images between two reports


class SizeError(UsageError):
    """Images of one split differ in size; `side` is the shortest of theirs, to resize all of them to."""

    def __init__(self, message: str, side: int) -> None:
        super().__init__(message)
        self.side = side


class ImageStack:
    """Images of one size, added one by one without knowing how many there will be.

    Args:
        resize: the side every image is resized to, or None to keep their one size.
    """

    def __init__(self, resize: int | None) -> None:
        self._resize = resize
        self._pixels = bytearray()
        self._labels: list[int] = []
        self._first: tuple[str, tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, data: bytes, label: int, name: str) -> None:
        """Decode one image file and put it at the end.

        Raises:
            DamagedError: see `decode`.
            SizeError: its size is not that of the first image.
            UsageError: the stack grows past `limits.FILE_BYTES`.
        """
        image = decode(data, name, self._resize)
        if self._first is None:
            self._first = name, image.shape
        first, shape = self._first
        if image.shape != shape:
            sizes = f"{shape[1]}x{shape[0]} and {image.shape[1]}x{image.shape[0]}"
            raise SizeError(f"{first} and {name} differ in size: {sizes} pixels", min(*shape[:2], *image.shape[:2]))
        if len(self._pixels) + image.size > FILE_BYTES:
            raise UsageError(f"{name}: the split grows past {FILE_BYTES} bytes of pixels", "Give a smaller resize=N")
        self._pixels += image.tobytes()
        self._labels.append(label)

    def collect(self, where: Path) -> LabelledImages:
        """What was added.

        Raises:
            MissingError: nothing was.
        """
        if self._first is None:
            raise MissingError(f"{where}: no image found", "Check the path")
        pixels = np.frombuffer(self._pixels, np.uint8).reshape(len(self), *self._first[1])
        return LabelledImages(pixels, np.array(self._labels, dtype=np.int64))


def decode_splits(
    splits: Sequence[Sequence[tuple[Path, int]]], where: Path, resize: int | None, progress: Progress
) -> list[LabelledImages]:
    """The image files of each split, each file with its label, decoded in the order given.

    Args:
        splits: for each split its files and their labels.
        where: the dataset's folder, for errors.
        resize: the side to resize to, or None.
        progress: told the images read and their total.

    Raises:
        MissingError: a split has no file, or a file cannot be opened.
        DamagedError, UsageError: see `ImageStack.add`.
    """
    total = sum(map(len, splits))
    done = 0
    result = []
    for files in splits:
        stack = ImageStack(resize)
        for path, label in files:
            stack.add(store.read_file(path, IMAGE_FILE_BYTES, follow=True), label, str(path))
            done += 1
            if done % PROGRESS_STEP == 0 or done == total:
                progress(done, total)
        result.append(stack.collect(where))
    return result
