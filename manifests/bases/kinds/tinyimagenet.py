"""Tiny ImageNet in its official layout, numbered as the published setups number it, whole or by halves.

Classes are the wnids sorted as strings; training images are sorted by path and validation images by name, both as
strings (val_0, val_1, val_10, ...). The test split is the official validation split, because the official test images
have no labels. The halves keep the labels below 100, or the others less 100, in unchanged order (Schwarzschild et al.,
2021).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from poisonsets.manifests.bases.image_stack import decode_splits
from poisonsets.manifests.bases.kind import BaseKind, Contents
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import store
from poisonsets.manifests.workers import Progress

HALF: Final = 100
TEXT_BYTES: Final = 16 << 20
SUFFIX: Final = ".JPEG"


def read_tinyimagenet(source: Path, resize: int | None, progress: Progress, *, kept: slice) -> Contents:
    """The classes `kept` of the sorted wnids, numbered from 0; the source holds train/, val/ and wnids.txt.

    Raises:
        MissingError: the source is not laid out like this, or lacks these classes.
        DamagedError: wnids.txt or the annotations do not fit the folders, or as `decode_splits`.
        UsageError: as `decode_splits`.
    """
    wnids = _wnids(source)[kept]
    if not wnids:
        raise MissingError(f"{source}: too few class folders in train/ for this base", "Check that it is complete")
    folders = [source / "train" / wnid / "images" for wnid in wnids]
    train = [(path, label) for label, folder in enumerate(folders) for path in _images(folder)]
    splits = decode_splits([train, _validation(source / "val", wnids)], source, resize, progress)
    return Contents(tuple(wnids), *splits)


def _wnids(source: Path) -> list[str]:
    try:
        wnids = sorted(entry.name for entry in (source / "train").iterdir() if entry.is_dir())
    except OSError as error:
        raise MissingError(f"{source}: no folder train/ as in the official layout") from error
    listing = source / "wnids.txt"
    # A folder lost in extraction would shift every later label.
    named = store.read_file(listing, TEXT_BYTES, follow=True).decode("latin1").split() if listing.is_file() else wnids
    if sorted(named) != wnids:
        raise DamagedError(f"{source}: the folders of train/ are not those that wnids.txt names")
    return wnids


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder; the official layout has it")
    return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)


def _validation(folder: Path, wnids: Sequence[str]) -> list[tuple[Path, int]]:
    """The validation images of these classes; a line of the annotations is a name, a wnid and a box."""
    lines = store.read_file(folder / "val_annotations.txt", TEXT_BYTES, follow=True).decode("latin1").splitlines()
    wnid_of = {fields[0]: fields[1] for fields in (line.split("\t") for line in lines) if len(fields) > 1}
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    found = []
    for path in _images(folder / "images"):
        wnid = wnid_of.get(path.name)
        if wnid is None:
            raise DamagedError(f"{path}: val_annotations.txt has no line for this image")
        if wnid in label_of:
            found.append((path, label_of[wnid]))
    return found


KINDS = tuple(
    BaseKind(
        name=name, summary=f"Tiny ImageNet, 64x64, {what}", source="spec", read=partial(read_tinyimagenet, kept=kept)
    )
    for name, what, kept in (
        ("tinyimagenet", "all 200 classes", slice(None)),
        ("tinyimagenet-first", "its first 100 classes", slice(HALF)),
        ("tinyimagenet-second", "its second 100 classes, numbered from 0", slice(HALF, None)),
    )
)
