"""A folder of image files, one folder a class: classes and files in the order of their names as strings."""

from collections.abc import Sequence
from pathlib import Path

from poisonsets.manifests.bases.image_stack import decode_splits
from poisonsets.manifests.bases.kind import BaseKind, Contents
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files.images import SUFFIXES
from poisonsets.manifests.workers import Progress


def read_folder(source: Path, resize: int | None, progress: Progress) -> Contents:
    """The PNG and JPEG files of `train/CLASS/` and `test/CLASS/` (or `val/CLASS/`), or of `CLASS/` directly.

    Other files, hidden folders and deeper folders are passed over.

    Raises:
        MissingError: a folder cannot be read, or a split has no image.
        DamagedError: a class of the test split is not one of train, or as `decode_splits`.
        UsageError: as `decode_splits`.
    """
    folders = _split_folders(source)
    classes = _classes(folders[0])
    for folder in folders[1:]:
        for label in _classes(folder):
            if label not in classes:
                raise DamagedError(f"{folder}: class {label} is not among the classes of {folders[0]}")
    train, *test = decode_splits([_files(folder, classes) for folder in folders], source, resize, progress)
    return Contents(tuple(classes), train, test[0] if test else None)


def class_counts(source: Path) -> dict[str, int]:
    """How many image files each class folder of the training split has, by its name; nothing is decoded.

    Folders without an image, which are no classes to whoever looks at them, are left out.

    Raises:
        MissingError: the folder cannot be read.
    """
    folder = _split_folders(source)[0]
    classes = _classes(folder)
    counts = dict.fromkeys(classes, 0)
    for _, label in _files(folder, classes):
        counts[classes[label]] += 1
    return {name: count for name, count in counts.items() if count}


def _split_folders(source: Path) -> list[Path]:
    """The folder of the training split, and that of the test split where there is one."""
    if not (source / "train").is_dir():
        return [source]
    tests = [source / name for name in ("test", "val") if (source / name).is_dir()]
    return [source / "train", *tests[:1]]


def _classes(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise MissingError(f"{folder}: not a folder that can be read") from error


def _files(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    found = []
    for label, name in enumerate(classes):
        if (folder / name).is_dir():
            files = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in SUFFIXES)
            found += [(path, label) for path in files]
    return found


KINDS = (
    BaseKind(
        name="folder",
        summary="PNG and JPEG files in train/CLASS/ and test/CLASS/, or in CLASS/ with a holdout",
        source="spec",
        read=read_folder,
        has_test=lambda source: len(_split_folders(source)) == 2,
    ),
)
