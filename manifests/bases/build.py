"""Read a base dataset from its source, check it and split it; equal sources give equal pixels."""

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.bases.image_stack import SizeError
from poisonsets.manifests.bases.kind import Contents, Source
from poisonsets.manifests.bases.spec import Spec
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files.images import LARGEST_SOURCE, resized
from poisonsets.manifests.limits import CLASSES, IMAGE_SIDE
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.workers import Progress, silent

HOLDOUT: Final = Fraction(1, 20)  # proposed where one is needed


def build(spec: Spec, progress: Progress = silent) -> Base:
    """The base that a spec describes, read from its source.

    Raises:
        UsageError: no source, a holdout beside a test split or neither of them, or images of different sizes; the
            remedy is the command that adds this base.
        MissingError: the source does not exist or is not laid out like this kind.
        DamagedError: something in the source cannot be read or makes no sense.
    """
    contents = _read(spec, progress)
    train, test = _splits(spec, contents)
    classes = contents.classes
    if classes is None:
        highest = max(int(split.labels.max(initial=0)) for split in (train, test))
        classes = tuple(map(str, range(min(highest, CLASSES) + 1)))
    _check_classes(classes, spec.name)
    for name, split in (("train", train), ("test", test)):
        limit = IMAGE_SIDE if spec.resize is None else LARGEST_SOURCE
        _check_split(split, len(classes), limit, f"{spec.name}: {name}")
    if spec.resize is not None:
        train, test = (Split(resized(split.images, spec.resize), split.labels) for split in (train, test))
    if train.side != test.side:
        sizes = " and ".join(f"{width}x{height}" for height, width in (train.side, test.side))
        side = min(*train.side, *test.side)
        raise _other_sizes(spec, f"{spec.name}: the splits differ in image size: {sizes}", side)
    labels = tuple(range(len(classes)))
    return Base(
        name=spec.name,
        classes=classes,
        train=train,
        test=test,
        victim_classes=spec.kind.victim_classes or labels,
        pretrain_classes=spec.kind.pretrain_classes or labels,
        mirror=spec.kind.mirror,
        inventory=contents.inventory,
    )


def has_test(spec: Spec) -> bool:
    """Whether the source of a spec has a test split of its own. Raises as `build`, but reads no image."""
    return spec.kind.has_test(_source(spec))


def complete(spec: Spec) -> Spec:
    """The spec with the holdout and the size that its source needs and it does not give.

    At most the first images are read; the size is the shortest side of two that differ. Raises as `build` does.
    """
    source = _source(spec)
    if spec.holdout is None and not spec.kind.has_test(source):
        spec = replace(spec, holdout=HOLDOUT)
    if spec.resize is None:
        try:
            with suppress(_EnoughError):
                spec.kind.read(source, None, _stop)
        except SizeError as error:
            spec = replace(spec, resize=error.side)
    return spec


class _EnoughError(Exception):
    """The first images were read."""


def _stop(_done: float, _total: float) -> None:
    raise _EnoughError


def _source(spec: Spec) -> Source:
    if spec.kind.source == "embedded":
        return Source(Path())
    if spec.path is None:
        raise UsageError(f"base {spec.kind.name} needs a source", spec.add_remedy)
    if not spec.path.exists():
        raise MissingError(f"{spec.path}: no such file or folder")
    return Source(spec.path, spec.train, spec.test)


def _read(spec: Spec, progress: Progress) -> Contents:
    source = _source(spec)
    has_test = spec.kind.has_test(source)
    if has_test and spec.holdout is not None:
        plain = replace(spec, holdout=None, split_seed=0)
        raise UsageError(f"{spec.name} has its own test split, so a holdout makes no sense", plain.add_remedy)
    if not has_test and spec.holdout is None:
        whole = complete(spec)
        size = "" if whole.resize == spec.resize else " and its images differ in size"
        named = ", or name a labelled test split: --test GLOB" if spec.kind.globs else ""
        remedy = f"{whole.add_remedy}, or choose other numbers{named}"
        raise UsageError(f"{spec.name} has no test split{size}", remedy)
    try:
        return spec.kind.read(source, spec.resize, progress)
    except SizeError as error:
        raise _other_sizes(spec, error.message, error.side) from error


def _other_sizes(spec: Spec, message: str, side: int) -> UsageError:
    return UsageError(message, f"{replace(spec, resize=side).add_remedy}, or choose another size")


def _splits(spec: Spec, contents: Contents) -> tuple[Split, Split]:
    """Train and test; a held-out test split has floor(share N) images, at least one, drawn over all classes."""
    if contents.test is not None:
        return contents.train, contents.test
    total = len(contents.train.labels)
    if total < 2:
        raise DamagedError(f"{spec.name}: fewer than two images cannot be split")
    count = max(1, int((spec.holdout or HOLDOUT) * total))
    return contents.train.hold_out(Stream("holdout", spec.split_seed).sample(range(total), count))


def _check_classes(classes: tuple[str, ...], where: str) -> None:
    if not 2 <= len(classes) <= CLASSES:
        raise DamagedError(f"{where}: {len(classes)} classes, 2 to {CLASSES} can be used")
    for label, name in enumerate(classes):
        if len(name) > 4096 or name.encode("utf-8", "ignore").decode() != name:  # a manifest could not hold it
            raise DamagedError(f"{where}: the name of class {label} is too long or is not UTF-8")


def _check_split(split: Split, classes: int, limit: int, where: str) -> None:
    n, height, width, _ = split.images.shape
    if n == 0:
        raise DamagedError(f"{where} holds no image")
    if not (1 <= height <= limit and 1 <= width <= limit):
        raise DamagedError(f"{where}: images of {width}x{height} pixels, sides of 1-{limit} are read")
    if len(split.labels) != n:
        raise DamagedError(f"{where}: {n} images but {len(split.labels)} labels")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= classes:
        raise DamagedError(f"{where}: labels from {low} to {high}, but the classes are 0-{classes - 1}")
