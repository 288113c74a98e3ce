"""A folder of image files, one folder a class: classes and files in the order of their names as strings."""

from pathlib import Path

from poisonsets.manifests.bases.folder_entries import (
    class_folders,
    classes_of,
    entries,
    has_image,
    is_image,
    labelled_images,
)
from poisonsets.manifests.bases.folder_layout import folder_layout
from poisonsets.manifests.bases.image_stack import decode_splits
from poisonsets.manifests.bases.inventory import Tally
from poisonsets.manifests.bases.kind import BaseKind, Contents, Source
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.workers import Progress


def read_folder(source: Source, resize: int | None, progress: Progress) -> Contents:
    """The PNG, JPEG, WEBP and BMP files of `train/CLASS/` and `test/CLASS/`, however these are spelled, or of `CLASS/`.

    Other files, hidden folders and deeper folders are passed over and counted.

    Raises:
        MissingError: a folder cannot be read, or a split has no image.
        DamagedError: a class of the training split has no image, one of the test split is not among them, or as
            `decode_splits`.
        UnsupportedError: an image is of a format that is not read.
        UsageError: as `folder_layout` and `decode_splits`.
    """
    tally = Tally()
    layout = folder_layout(source, tally)
    classes = classes_of(layout.train)
    for folder in layout.test:
        for name in entries(folder).folders:
            if name not in classes and has_image(folder / name):
                among = ", ".join(map(str, layout.train))
                raise DamagedError(f"{folder}: class {name} is not among the classes of {among}")
    splits = [list(labelled_images(folders, classes, tally)) for folders in (layout.train, layout.test) if folders]
    train, *test = decode_splits(splits, source.path, resize, progress, tally)
    inventory = tally.inventory(**layout.origins(source.path))
    return Contents(tuple(classes), train, test[0] if test else None, inventory)


def class_counts(source: Path) -> dict[str, int]:
    """How many image files each class folder of the training split has, by its name; nothing is decoded.

    Folders without an image are left out, though `read_folder` refuses them.

    Raises:
        MissingError: the folder cannot be read.
        UsageError: as `folder_layout`.
    """
    folders = folder_layout(Source(source)).train
    names = sorted({name for folder in folders for name in class_folders(folder)})
    places = {name: [folder / name for folder in folders if (folder / name).is_dir()] for name in names}
    return {name: sum(sum(map(is_image, entries(one).files)) for one in some) for name, some in places.items()}


KINDS = (
    BaseKind(
        name="folder",
        summary="images in train/CLASS/ and test/CLASS/ or val/CLASS/, or in CLASS/ with a holdout",
        source="spec",
        read=read_folder,
        has_test=lambda source: bool(folder_layout(source).test),
        globs=True,
    ),
)
