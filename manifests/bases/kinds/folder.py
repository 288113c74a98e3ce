"""A folder of image files, one folder a class: classes and files in the order of their names as strings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poisonsets.manifests.bases.image_stack import decode_splits
from poisonsets.manifests.bases.kind import BaseKind, Contents
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files.images import SUFFIXES
from poisonsets.manifests.workers import Progress


def read_folder(source: Path, resize: int | None, progress: Progress) -> Contents:
    """The PNG and JPEG files of `train/CLASS/` and `test/CLASS/` (or `val/CLASS/`), or of `CLASS/` directly.

    Other files, hidden folders and deeper folders are passed over. A class of the test split must be one of
    train.

    Args:
        source: the folder.
        resize: the side to resize to, or None.
        progress: told the images read and their total.
    """
    train = source / "train" if (source / "train").is_dir() else source
    test = _test_folder(source)
    classes = _classes(train)
    folders = [train] if test is None else [train, test]
    for label in [] if test is None else _classes(test):
        if label not in classes:
            raise DamagedError(f"{test}: class {label} is not among the classes of {train}")
    splits = decode_splits([_files(folder, classes) for folder in folders], source, resize, progress)
    return Contents(tuple(classes), splits[0], splits[1] if test is not None else None)


def has_test(source: Path) -> bool:
    """Whether there is `test/` or `val/` beside `train/`."""
    return _test_folder(source) is not None


def _test_folder(source: Path) -> Path | None:
    if not (source / "train").is_dir():
        return None
    return next((source / name for name in ("test", "val") if (source / name).is_dir()), None)


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
        has_test=has_test,
    ),
)
