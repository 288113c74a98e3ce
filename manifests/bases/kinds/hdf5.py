"""An HDF5 file of images and labels: a group a split, arrays named after their split, or arrays at the root."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.bases.inventory import Tally
from poisonsets.manifests.bases.kind import BaseKind, Contents, Source, class_names
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import hdf5
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.files.split_names import SplitWord, split_of
from poisonsets.manifests.limits import CLASSES
from poisonsets.manifests.workers import Progress

IMAGES: Final = ("images", "image", "x", "data", "imgs", "img", "pixels", "pictures")  # the first that is there
LABELS: Final = ("labels", "label", "y", "targets", "target")
WANTED: Final = "Wanted: train/images uint8 [N, H, W, 3] and train/labels integers [N], the same under test"


@dataclass(frozen=True)
class Arrays:
    """The paths of a split's images and labels."""

    images: str
    labels: str


def read_hdf5(source: Source, _resize: int | None, progress: Progress) -> Contents:
    """Images uint8 [N, H, W, 3], [N, H, W] or [N, 3, H, W], and integer labels [N] or [N, 1], of each split.

    Their names, or those of their groups, tell the split; arrays of no split are the training split. The attribute
    `classes` may hold class names, as texts or as a JSON list. Progress is told in splits.

    Raises:
        DamagedError: an array is missing, is no such array, or is stored in a way that is refused.
        UsageError: several arrays could be one.
    """
    tally = Tally()
    with hdf5.opened(source.path) as file:
        train, test = _found(file, source, tally)
        splits = []
        for number, arrays in enumerate(filter(None, (train, test))):
            progress(number, 2)
            splits.append(_split(file, arrays, tally))
        names = hdf5.read_json(file, "classes")
    classes = None if names is None else class_names(names, f"{source.path}: the attribute classes")
    inventory = tally.inventory(train=train.images, test="" if test is None else test.images)
    return Contents(classes, splits[0], splits[1] if len(splits) == 2 else None, inventory)


def _has_test(source: Source) -> bool:
    with hdf5.opened(source.path) as file:
        return _found(file, source, Tally())[1] is not None


def _found(file: h5py.File, source: Source, tally: Tally) -> tuple[Arrays, Arrays | None]:
    """The arrays of the training and of the test split; others are counted."""
    paths = hdf5.datasets(file)
    trained, tested = _matched(paths, source.train, source.path), _matched(paths, source.test, source.path)
    told: dict[SplitWord | None, list[str]] = {}
    for path in paths:
        if path not in (*trained, *tested):
            told.setdefault(split_of(path.replace("/", " ")), []).append(path)
    word: SplitWord = "test" if _is_split(told.get("test", [])) else "val"
    train = trained or told.get("train") or ([] if told.keys() - {None} else told.get(None, []))
    test = tested or (told.get(word, []) if _is_split(told.get(word, [])) else [])
    if not _is_split(train):
        raise DamagedError(f"{file.filename}: it holds {_shown(paths)}, and no images with labels to train on", WANTED)
    for split, names in told.items():
        if names not in (train, test):
            remedy = "--train and --test take their group" if split in ("val", "test") and _is_split(names) else ""
            for name in names:
                tally.add("arrays that are not read", name, remedy=remedy)
    return _arrays(train, file.filename), _arrays(test, file.filename) if test else None


def _matched(paths: list[str], globs: tuple[str, ...], where: Path) -> list[str]:
    found = [path for path in paths if any(fnmatchcase(path, one) or fnmatchcase(_group(path), one) for one in globs)]
    if globs and not found:
        raise MissingError(f"{where}: no group or array matches {globs[0]}", f"It holds {_shown(paths)}")
    return found


def _group(path: str) -> str:
    return path.rpartition("/")[0]


def _shown(paths: list[str]) -> str:
    return ", ".join(paths[:10]) + (", ..." if len(paths) > 10 else "") if paths else "nothing"


def _is_split(paths: list[str]) -> bool:
    return all(any(_words(path) & {*words} for path in paths) for words in (IMAGES, LABELS))


def _words(path: str) -> set[str]:
    return set(re.findall("[a-z]+", path.rpartition("/")[2].casefold()))


def _arrays(paths: list[str], where: str) -> Arrays:
    chosen = []
    for words in (IMAGES, LABELS):
        word = next(one for one in words if any(one in _words(path) for path in paths))
        exact = [path for path in paths if path.rpartition("/")[2] == word]
        found = exact or [path for path in paths if word in _words(path)]
        if len(found) > 1:
            message = f"{where}: {' and '.join(found[:5])} could each be the {words[0]} of one split"
            raise UsageError(message, "Name its group: --train GROUP, --test GROUP")
        chosen += found
    return Arrays(*chosen)


def _split(file: h5py.File, arrays: Arrays, tally: Tally) -> Split:
    labels = hdf5.read(file, arrays.labels, rank=(1, 2))
    images = hdf5.read(file, arrays.images, rank=(3, 4))
    where = f"{file.filename}: {arrays.images}"
    pixels = _as_rgb(images)
    if pixels is None or (labels.ndim == 2 and labels.shape[1] != 1):
        shown = f"{images.dtype} {list(images.shape)} with labels {list(labels.shape)}"
        raise DamagedError(f"{where} is {shown}", WANTED)
    if len(labels) != len(pixels):
        raise DamagedError(f"{where}: {len(pixels)} images but {len(labels)} labels")
    if labels.size and int(labels.max()) >= CLASSES:
        raise DamagedError(f"{file.filename}: {arrays.labels} holds {int(labels.max())}, at most {CLASSES - 1} is read")
    tally.sizes[pixels.shape[1], pixels.shape[2]] += len(pixels)
    return Split(pixels, labels.reshape(-1).astype(np.int64))


def _as_rgb(images: np.ndarray) -> Images | None:
    """Images [N, H, W, 3] from grey ones and from channels that come first, where there is only one way to see them."""
    if images.dtype != np.uint8:
        return None
    if images.ndim == 3:
        return np.repeat(images[..., None], 3, axis=3)
    first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
    if first == last:
        return images if images.shape[3] == 3 and images.shape[1] == images.shape[2] else None
    found = images if last else images.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(found if found.shape[3] == 3 else np.repeat(found, 3, axis=3))


KINDS = (
    BaseKind(
        name="hdf5",
        summary="one file with train/images, train/labels and optionally test/images, test/labels",
        source="spec",
        read=read_hdf5,
        has_test=_has_test,
        globs=True,
    ),
)
