"""CIFAR-10 and CIFAR-100 from the files their authors publish, in original order.

The extracted python version (pickles, read by the opcode interpreter) and the binary version can be read.
Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), and its download page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.bases.kind import BaseKind, Contents, Source
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.pickles import interpreter
from poisonsets.manifests.workers import Progress

PIXELS: Final = 3 * 32 * 32
PART_BYTES: Final = 256 << 20  # the largest part, CIFAR-100's pickled training images, has 155 MB

# fmt: off
CIFAR10_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)
CIFAR100_CLASSES: Final = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)
# fmt: on


@dataclass(frozen=True)
class Layout:
    """A published form: its folder, its files, and the function that reads one of them."""

    folder: str
    train: tuple[str, ...]
    test: str
    part: Callable[[bytes, str], Split]


def _pickled(data: bytes, where: str, *, key: str) -> Split:
    """A dict with `data` uint8 [N, 3072] and a list of labels; Python 2 wrote the keys as byte strings."""
    batch = interpreter.load(data, where)
    if type(batch) is not dict:
        batch = {}
    pixels, labels = (batch.get(name, batch.get(name.encode())) for name in ("data", key))
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (PIXELS,):
        raise DamagedError(f"{where}: no uint8 array `data` with {PIXELS} columns")
    if type(labels) is not list or any(type(label) is not int for label in labels):
        raise DamagedError(f"{where}: no list of integers `{key}`")
    return _checked(pixels, np.array(labels, dtype=object), where)


def _binary(data: bytes, where: str, *, label_bytes: int) -> Split:
    """Records of `label_bytes` labels, the last of them the fine one, and 3072 pixels, channel by channel."""
    record = label_bytes + PIXELS
    if len(data) % record:
        raise DamagedError(f"{where}: {len(data)} bytes are not a multiple of {record}: the file is cut")
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    return _checked(rows[:, label_bytes:], rows[:, label_bytes - 1], where)


def _checked(pixels: Any, labels: Any, where: str) -> Split:
    if len(pixels) != len(labels):
        raise DamagedError(f"{where}: {len(pixels)} images but {len(labels)} labels")
    if len(labels) and not 0 <= min(labels) <= max(labels) < 100:
        raise DamagedError(f"{where}: labels from {min(labels)} to {max(labels)}")
    images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Split(images, labels.astype(np.int64))


CIFAR10: Final = tuple(
    Layout(folder, tuple(f"data_batch_{i}{suffix}" for i in range(1, 6)), f"test_batch{suffix}", part)
    for folder, suffix, part in (
        ("cifar-10-batches-py", "", partial(_pickled, key="labels")),
        ("cifar-10-batches-bin", ".bin", partial(_binary, label_bytes=1)),
    )
)
CIFAR100: Final = (
    Layout("cifar-100-python", ("train",), "test", partial(_pickled, key="fine_labels")),
    Layout("cifar-100-binary", ("train.bin",), "test.bin", partial(_binary, label_bytes=2)),
)


def read_cifar(
    source: Source, _resize: int | None, progress: Progress, *, layouts: Sequence[Layout], classes: tuple[str, ...]
) -> Contents:
    """Both splits; the training split is its parts in their numbered order. Progress is told in parts.

    Args:
        source: the folder with the parts, or one that contains it under its published name.
        layouts: the forms to look for, in this order.
    """
    folder, layout = _found(source.path, layouts)
    parts: list[Split] = []
    for name in (*layout.train, layout.test):
        parts.append(layout.part(store.read_file(folder / name, PART_BYTES, follow=True), name))
        progress(len(parts), len(layout.train) + 1)
    *train, test = parts
    images = np.concatenate([part.images for part in train])
    return Contents(classes, Split(images, np.concatenate([part.labels for part in train])), test)


def _found(source: Path, layouts: Sequence[Layout]) -> tuple[Path, Layout]:
    for layout in layouts:
        for folder in (source, source / layout.folder):
            if (folder / layout.test).is_file() and (folder / layout.train[0]).is_file():
                return folder, layout
    names = " or ".join(layout.folder for layout in layouts)
    message = f"{source}: neither it nor a folder {names} in it holds the dataset's files"
    raise MissingError(message, "Extract the archive")


KINDS = tuple(
    BaseKind(
        name=name,
        summary=f"{title}, from its python or binary version",
        source="given",
        read=partial(read_cifar, layouts=layouts, classes=classes),
        download=True,
    )
    for name, title, layouts, classes in (
        ("cifar10", "CIFAR-10, 32x32, 10 classes", CIFAR10, CIFAR10_CLASSES),
        ("cifar100", "CIFAR-100 with its fine labels, 32x32", CIFAR100, CIFAR100_CLASSES),
    )
)
