"""A folder of WebDataset shards, read member by member and never extracted.

Links, sparse members, devices, members past a size and archives that end in anything but zeros are refused: the
standard reader skips them and silently loses images.
"""

from pathlib import Path

from poisonsets.manifests.bases.image_stack import PROGRESS_STEP, ImageStack
from poisonsets.manifests.bases.kind import BaseKind, Contents, class_names
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.files.tar_reader import samples, test_shards, training_shards
from poisonsets.manifests.limits import MANIFEST_BYTES
from poisonsets.manifests.workers import Progress


def read_webdataset(source: Path, resize: int | None, progress: Progress) -> Contents:
    """The samples of `train-*.tar` and `test-*.tar`, or of all `*.tar` where there is no `train-*.tar`.

    Shards come in the order of their names as strings, samples as stored. A sample is the adjacent members of one key;
    it has one `.png`, `.jpg` or `.jpeg` and a `.cls` (the label as text). Its other members, and samples without an
    image, are passed over; an image without a label is damage. `classes.json` may hold a list of class names.
    """
    shards = [training_shards(source), test_shards(source)]
    stacks = [ImageStack(resize) for paths in shards if paths]
    for stack, paths in zip(stacks, shards, strict=False):
        for path in paths:
            for key, image, label in samples(path):
                stack.add(image, label, f"{path}: {key}")
                if len(stack) % PROGRESS_STEP == 0:
                    done = sum(map(len, stacks))
                    progress(done, done + 1)  # their total is not known
    splits = [stack.collect(source) for stack in stacks]
    return Contents(_class_names(source), splits[0], splits[1] if shards[1] else None)


def _class_names(source: Path) -> tuple[str, ...] | None:
    path = source / "classes.json"
    if not path.exists():
        return None
    data = store.read_file(path, MANIFEST_BYTES, follow=True)
    return class_names(canonical_json.parse(data, str(path)), str(path))


KINDS = (
    BaseKind(
        name="webdataset",
        summary="shards train-*.tar and test-*.tar with .cls and .png or .jpg members",
        source="spec",
        read=read_webdataset,
        has_test=lambda source: bool(test_shards(source)),
    ),
)
