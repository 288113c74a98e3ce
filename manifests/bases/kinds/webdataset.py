"""A folder of WebDataset shards, read member by member and never extracted.

Links, sparse members, devices, members past a size and archives that end in anything but zeros are refused: the
standard reader skips them and silently loses images.
"""

from pathlib import Path

from poisonsets.manifests.bases.image_stack import PROGRESS_STEP, ImageStack
from poisonsets.manifests.bases.inventory import Tally
from poisonsets.manifests.bases.kind import BaseKind, Contents, Source, class_names
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.files.images import OWN_SUFFIXES
from poisonsets.manifests.files.shard_files import ShardFiles, shard_files
from poisonsets.manifests.files.tar_reader import Shard
from poisonsets.manifests.limits import MANIFEST_BYTES
from poisonsets.manifests.workers import Progress


def read_webdataset(source: Source, resize: int | None, progress: Progress) -> Contents:
    """The samples of the shards of each split, as `shard_files` tells them by their names.

    Shards come in the order of their paths as strings, samples as stored. A sample is the adjacent members of one key;
    it has one image and a `.cls` (the label as text). Its other members, and samples without an image, are passed over
    and counted; an image without a label is damage. `classes.json` may hold a list of class names.
    """
    files = shard_files(source.path, source.train, source.test)
    shards = [files.train, files.test]
    tally = Tally()
    stacks = [ImageStack(resize, tally) for paths in shards if paths]
    for stack, paths in zip(stacks, shards, strict=False):
        for path in paths:
            shard = Shard(path, OWN_SUFFIXES)
            for key, image, label in shard.samples():
                stack.add(image, label, f"{path}: {key}")
                if len(stack) % PROGRESS_STEP == 0:
                    done = sum(map(len, stacks))
                    progress(done, done + 1)  # their total is not known
            for what, count in shard.passed.items():
                tally.add(what, path.name, count=count)
    splits = [stack.collect(source.path) for stack in stacks]
    _count_others(files, source.path, tally)
    inventory = tally.inventory(train=_shown(files.train, source.path), test=_shown(files.test, source.path))
    return Contents(_class_names(source.path), splits[0], splits[1] if files.test else None, inventory)


def _shown(paths: tuple[Path, ...], source: Path) -> str:
    names = [str(path.relative_to(source)) for path in paths]
    return ", ".join(names) if len(names) < 3 else f"{len(names)} shards, {names[0]} to {names[-1]}"


def _count_others(files: ShardFiles, source: Path, tally: Tally) -> None:
    for path in files.further:
        remedy = "--test GLOB takes them as the test split, --train GLOB as the training split"
        tally.add("shards of a further split", str(path.relative_to(source)), remedy=remedy)
    for path in files.untold:
        remedy = "--train GLOB takes them"
        tally.add("shards whose names tell no split", str(path.relative_to(source)), remedy=remedy)


def _class_names(source: Path) -> tuple[str, ...] | None:
    path = source / "classes.json"
    if not path.exists():
        return None
    data = store.read_file(path, MANIFEST_BYTES, follow=True)
    return class_names(canonical_json.parse(data, str(path)), str(path))


KINDS = (
    BaseKind(
        name="webdataset",
        summary="shards such as train-*.tar and test-*.tar with .cls and .png or .jpg members",
        source="spec",
        read=read_webdataset,
        has_test=lambda source: bool(shard_files(source.path, source.train, source.test).test),
        globs=True,
    ),
)
