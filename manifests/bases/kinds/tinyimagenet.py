"""Tiny ImageNet in its official layout, numbered as the published setups number it, whole or by halves.

Classes are the wnids sorted as strings; training images are sorted by path and validation images by name, both as
strings (val_0, val_1, val_10, ...). The test split is the official validation split, because the official test images
have no labels. The halves keep the labels below 100, or the others less 100, in unchanged order (Schwarzschild et al.,
2021). Copies whose validation images were sorted into class folders give the same splits.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from poisonsets.manifests.bases.folder_entries import class_images, entries, has_image, images_below
from poisonsets.manifests.bases.image_stack import decode_splits
from poisonsets.manifests.bases.inventory import Tally
from poisonsets.manifests.bases.kind import BaseKind, Contents, Source
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.split_names import SplitWord, split_of
from poisonsets.manifests.workers import Progress

HALF: Final = 100
TEXT_BYTES: Final = 16 << 20
ANNOTATIONS: Final = "val_annotations.txt"


def read_tinyimagenet(source: Source, resize: int | None, progress: Progress, *, kept: slice) -> Contents:
    """The classes `kept` of the sorted wnids, numbered from 0; the source holds train/, val/ and wnids.txt.

    Raises:
        MissingError: the source is not laid out like this, or lacks these classes.
        DamagedError: wnids.txt or the annotations do not fit the folders, or as `decode_splits`.
        UsageError: as `decode_splits`.
    """
    tally = Tally()
    splits = _split_folders(source.path, tally)
    everyone = _wnids(source.path, splits["train"])
    wnids = everyone[kept]
    if not wnids:
        raise MissingError(f"{source.path}: too few class folders in train/ for this base", "Check that it is complete")
    folders = [_images_folder(splits["train"] / wnid) for wnid in wnids]
    train = [(path, label) for label, folder in enumerate(folders) for path in class_images(folder, tally)]
    validation = _validation(splits["val"], wnids, everyone, tally)
    first, second = decode_splits([train, validation], source.path, resize, progress, tally)
    inventory = tally.inventory(train=f"{splits['train'].name}/", test=f"{splits['val'].name}/")
    return Contents(tuple(wnids), first, second, inventory)


def _split_folders(source: Path, tally: Tally) -> dict[SplitWord, Path]:
    """The folders of `train` and `val`, however they are spelled."""
    found: dict[SplitWord, Path] = {}
    for name in entries(source, tally).folders:
        word = split_of(name)
        if word is not None and word in found:
            message = f"{source}: {found[word].name}/ and {name}/ could each be the official {word}/"
            raise UsageError(message, "Move one of them out")
        if word is not None:
            found[word] = source / name
    for split in ("train", "val"):
        if split not in found:
            raise MissingError(f"{source}: no folder {split}/ as in the official layout", "Extract the archive")
    if "test" in found and (count := images_below(found["test"])):
        tally.add("images of the official test split, which has no labels", f"{found['test'].name}/", count=count)
    return found


def _wnids(source: Path, train: Path) -> list[str]:
    wnids = list(entries(train).folders)
    listing = source / "wnids.txt"
    # A folder lost in extraction would shift every later label.
    named = store.read_file(listing, TEXT_BYTES, follow=True).decode("latin1").split() if listing.is_file() else wnids
    if sorted(named) != wnids:
        raise DamagedError(f"{source}: the folders of {train.name}/ are not those that wnids.txt names")
    return wnids


def _images_folder(folder: Path) -> Path:
    """A class's `images/`, or the class folder itself where it holds the images."""
    inner = folder / "images"
    if not inner.is_dir() and not has_image(folder):
        raise MissingError(f"{inner}: no such folder; the official layout has it")
    return inner if inner.is_dir() else folder


def _validation(folder: Path, wnids: Sequence[str], everyone: Sequence[str], tally: Tally) -> list[tuple[Path, int]]:
    """The validation images of these classes in the order of their names; copies may have them in class folders."""
    if (folder / ANNOTATIONS).is_file() and has_image(folder / "images"):
        return _annotated(folder, wnids, tally)
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    found: list[tuple[Path, int]] = []
    for name in entries(folder).folders:
        if name not in everyone:
            if images_below(folder / name):
                raise DamagedError(f"{folder / name}: images of no class of train/, and no {ANNOTATIONS} beside them")
        elif name in label_of:
            found += [(path, label_of[name]) for path in class_images(_images_folder(folder / name), tally)]
    if not found:
        raise MissingError(f"{folder}: neither {ANNOTATIONS} with images/ nor a folder for each class")
    return sorted(found, key=lambda one: one[0].name)


def _annotated(folder: Path, wnids: Sequence[str], tally: Tally) -> list[tuple[Path, int]]:
    """A line of the annotations is a name, a wnid and a box."""
    lines = store.read_file(folder / ANNOTATIONS, TEXT_BYTES, follow=True).decode("latin1").splitlines()
    wnid_of = {fields[0]: fields[1] for fields in (line.split("\t") for line in lines) if len(fields) > 1}
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    found = []
    for path in class_images(folder / "images", tally):
        wnid = wnid_of.get(path.name)
        if wnid is None:
            raise DamagedError(f"{path}: {ANNOTATIONS} has no line for this image")
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
