"""Image files as one uint8 RGB array: all must have one size, or be resized to it."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.bases.inventory import Tally, first_ten
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.images import OWN_FILE_BYTES, decode_own
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.limits import FILE_BYTES
from poisonsets.manifests.workers import Progress

Decoded: TypeAlias = tuple[Images, tuple[int, int], tuple[str, ...]]
"""What `decode_own` gives."""

BATCH: Final = 8  # images that a thread decodes at a time
AHEAD: Final = 8  # batches that threads may have decoded before they are taken
PROGRESS_STEP: Final = 250  # images between two reports


class SizeError(UsageError):
    """Images of one split differ in size; `side` is the shortest side of two that differ."""

    def __init__(self, message: str, side: int) -> None:
        super().__init__(message)
        self.side = side


class ImageStack:
    """Images of one size, added one by one.

    Args:
        resize: the side that each is resized to; None keeps their size.
        tally: counts their sizes before any resizing, and what is odd about them.
        room: how many there will be at most; None where nobody knows.
    """

    def __init__(self, resize: int | None, tally: Tally, room: int | None = None) -> None:
        self._resize = resize
        self._room = room
        self._whole: Images | None = None  # where there is room for all of them
        self._tally = tally
        self._pixels = bytearray()
        self._labels: list[int] = []
        self._first: tuple[str, tuple[int, ...]] | None = None
        self._bad: list[DamagedError] = []

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, data: bytes, label: int, name: str) -> None:
        """Decode an image file and append it; one that cannot be decoded is remembered for `collect` to refuse.

        Raises:
            SizeError: its size is not that of the first image.
            UsageError: the stack grows past `limits.FILE_BYTES`.
        """
        try:
            decoded = decode_own(data, name, self._resize)
        except DamagedError as error:
            self.refuse(error)
        else:
            self.append(decoded, label, name)

    def append(self, decoded: Decoded, label: int, name: str) -> None:
        """Append what `decode_own` made of an image file. Raises as `add`."""
        image, size, odd = decoded
        for remark in odd:
            self._tally.add(f"images with {remark}", name)
        self._tally.sizes[size] += 1
        if self._first is None:
            self._first = name, image.shape
            if self._room is not None and self._room * image.size <= FILE_BYTES:
                self._whole = np.empty((self._room, *image.shape), np.uint8)
        first, shape = self._first
        if image.shape != shape:
            sizes = f"{shape[1]}x{shape[0]} and {image.shape[1]}x{image.shape[0]}"
            raise SizeError(f"{first} and {name} differ in size: {sizes} pixels", min(*shape[:2], *image.shape[:2]))
        if self._whole is not None:
            self._whole[len(self)] = image
        elif len(self._pixels) + image.size > FILE_BYTES:
            raise UsageError(f"{name}: the split grows past {FILE_BYTES} bytes of pixels", "Give a smaller resize=N")
        else:
            self._pixels += np.ascontiguousarray(image).data
        self._labels.append(label)

    def refuse(self, error: DamagedError) -> None:
        """Remember an image that cannot be read, so that all of them are named at once."""
        self._bad.append(error)

    def collect(self, where: Path) -> Split:
        """The added images and their labels.

        Raises:
            DamagedError: images could not be read; the first ten are named.
            MissingError: there are none.
        """
        if len(self._bad) == 1:
            raise self._bad[0]
        if self._bad:
            message = f"{where}: {len(self._bad)} images cannot be read: {first_ten(bad.message for bad in self._bad)}"
            raise DamagedError(message, self._bad[0].remedy)
        if self._first is None:
            raise MissingError(f"{where}: no image found", "Check the path")
        labels = np.array(self._labels, dtype=np.int64)
        if self._whole is not None:
            return Split(self._whole[: len(self)], labels)
        return Split(np.frombuffer(self._pixels, np.uint8).reshape(len(self), *self._first[1]), labels)


def decode_splits(
    splits: Sequence[Sequence[tuple[Path, int]]],
    where: Path,
    resize: int | None,
    progress: Progress,
    tally: Tally,
) -> list[Split]:
    """Decode the image files of each split, in order, each with its label. Progress is told in images.

    Raises:
        MissingError: a split has no file, or a file cannot be opened.
        DamagedError: an image cannot be read; the first ten are named.
        UsageError: as `ImageStack.add`.
    """
    total = sum(map(len, splits))
    done = 0
    stacks = []
    with ThreadPoolExecutor(_cores()) as pool:
        for files in splits:
            stack = ImageStack(resize, tally, len(files))
            stacks.append(stack)
            for (path, label), decoded in _ahead(pool, files, resize):
                if isinstance(decoded, DamagedError):
                    stack.refuse(decoded)
                else:
                    stack.append(decoded, label, str(path))
                done += 1
                if done % PROGRESS_STEP == 0 or done == total:
                    progress(done, total)
    return [stack.collect(where) for stack in stacks]


def _cores() -> int:
    """How many cores this process may use, where the system tells; else how many there are."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _ahead(
    pool: ThreadPoolExecutor, files: Sequence[tuple[Path, int]], resize: int | None
) -> Iterator[tuple[tuple[Path, int], Decoded | DamagedError]]:
    """The files in their order, decoded by threads, a few batches ahead of the one that is given."""
    batches = [files[first : first + BATCH] for first in range(0, len(files), BATCH)]
    waiting: deque[Future[list[Decoded | DamagedError]]] = deque()
    following = iter(batches)
    try:
        for batch in batches:
            waiting.extend(pool.submit(_decoded, some, resize) for some in islice(following, AHEAD - len(waiting)))
            yield from zip(batch, waiting.popleft().result(), strict=True)
    finally:
        for future in waiting:
            future.cancel()


def _decoded(files: Sequence[tuple[Path, int]], resize: int | None) -> list[Decoded | DamagedError]:
    found: list[Decoded | DamagedError] = []
    for path, _ in files:
        try:
            found.append(decode_own(store.read_file(path, OWN_FILE_BYTES, follow=True), str(path), resize))
        except DamagedError as error:
            found.append(DamagedError(error.message, error.remedy or "Make it anew, or move it out"))
    return found
