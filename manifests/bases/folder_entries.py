"""What lies in a user's folders of images: images that are read, images that are not, and files that nobody made."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poisonsets.manifests.bases.inventory import Tally, first_ten
from poisonsets.manifests.errors import DamagedError, MissingError, UnsupportedError
from poisonsets.manifests.files.images import OTHER_SUFFIXES, OWN_SUFFIXES, conversion
from poisonsets.manifests.files.junk import is_junk

DEEPEST: Final = 4  # folders below one that is passed over, in which images are counted
JUNK: Final = "files or folders that nobody made"
HIDDEN: Final = "hidden files or folders"
NO_IMAGES: Final = "files that are no images"


@dataclass(frozen=True)
class Entries:
    """The entries of a folder that users made, by name: folders and files."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


def entries(folder: Path, tally: Tally | None = None) -> Entries:
    """The entries of a folder in the order of their names as strings; junk and hidden ones are only counted.

    Raises MissingError where it is no folder that can be read.
    """
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if is_junk(entry.name) or entry.name.startswith("."):
                    if tally is not None:
                        tally.add(JUNK if is_junk(entry.name) else HIDDEN, entry.name)
                else:
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise MissingError(f"{folder}: not a folder that can be read") from error
    return Entries(tuple(sorted(folders)), tuple(sorted(files)))


def is_image(name: str, suffixes: tuple[str, ...] = (*OWN_SUFFIXES, *OTHER_SUFFIXES)) -> bool:
    """Whether a file of this name claims to be an image, by its suffix."""
    return os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122  asked of every file


def has_image(folder: Path) -> bool:
    """Whether an image, readable or not, lies directly in a folder."""
    return any(map(is_image, entries(folder).files))


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder that hold images directly."""
    return [name for name in entries(folder).folders if has_image(folder / name)]


def images_below(folder: Path, depth: int = DEEPEST) -> int:
    """How many images lie in a folder and below it."""
    found = entries(folder)
    below = (images_below(folder / name, depth - 1) for name in found.folders) if depth else ()
    return sum(map(is_image, found.files)) + sum(below)


def class_images(folder: Path, tally: Tally) -> list[Path]:
    """The images of a class, sorted by name; what else lies in its folder is counted.

    Raises UnsupportedError where images are of a format that is not read, unless one of their name lies beside them.
    """
    found = entries(folder, tally)
    taken = [name for name in found.files if is_image(name, OWN_SUFFIXES)]
    stems = {Path(name).stem for name in taken}
    refused = []
    for name in found.files:
        if is_image(name, OTHER_SUFFIXES):
            if Path(name).stem in stems:
                tally.add("images that lie beside a converted one", f"{folder.name}/{name}")
            else:
                refused.append(folder / name)
        elif not is_image(name):
            tally.add(NO_IMAGES, f"{folder.name}/{name}")
    refuse_formats(refused)
    for name in found.folders:
        if count := images_below(folder / name):
            tally.add("images in folders inside a class", f"{folder.name}/{name}/", count=count)
    return [folder / name for name in taken]


def refuse_formats(refused: Iterable[Path]) -> None:
    """Refuse images of formats that are not read, all at once, with the line that converts them."""
    paths = list(refused)
    if paths:
        what = f"{len(paths)} images are of a format that is not read: {first_ten(map(str, paths))}"
        raise UnsupportedError(what, conversion(str(paths[0])))


def labelled_images(folders: Iterable[Path], classes: Mapping[str, int], tally: Tally) -> Iterator[tuple[Path, int]]:
    """Every image below folders of class folders, with its class's label: by class, folder, and file name."""
    places = list(folders)
    for folder in places:
        for name in entries(folder, tally).files:
            tally.add("images in no class folder" if is_image(name) else NO_IMAGES, name)
    for name, label in classes.items():
        for folder in places:
            if (folder / name).is_dir():
                yield from ((path, label) for path in class_images(folder / name, tally))


def classes_of(folders: Iterable[Path]) -> dict[str, int]:
    """The labels of the class folders in folders of a training split, by name, in the order of the names as strings.

    Raises:
        DamagedError: a class has no image.
        MissingError: there is no class folder.
    """
    places = list(folders)
    names = sorted({name for folder in places for name in entries(folder).folders})
    empty = [name for name in names if not any((one / name).is_dir() and has_image(one / name) for one in places)]
    shown = ", ".join(map(str, places))
    if not names:
        loose = sum(map(is_image, (name for folder in places for name in entries(folder).files)))
        what = f"no class folder, but {loose} images" if loose else "no image found: it has no class folder"
        raise MissingError(f"{shown}: {what}", "Sort the images into one folder a class")
    if empty:
        below = {name: sum(images_below(one / name) for one in places if (one / name).is_dir()) for name in empty}
        listed = first_ten(f"{name} ({count} in folders below it)" if count else name for name, count in below.items())
        inner = next((place / name for place in places for name, count in below.items() if count), None)
        remedy = f"If the dataset begins deeper, name its folder, such as {inner}" if inner else "Remove them"
        raise DamagedError(f"{shown}: {len(empty)} class folders without an image: {listed}", remedy)
    return {name: label for label, name in enumerate(names)}
