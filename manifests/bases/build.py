"""A base dataset from its source, read, checked and split: equal sources give equal pixels."""

from __future__ import annotations

from pathlib import Path

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.bases.holdout import hold_out, parse_fraction
from poisonsets.manifests.bases.kind import Contents, Labelled, Progress
from poisonsets.manifests.bases.registry import Spec
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files.images import LARGEST_SOURCE, resized
from poisonsets.manifests.limits import CLASSES, IMAGE_SIDE

CLASS_NAME_LENGTH = 4096


def build(spec: Spec, source: Path | None, progress: Progress | None = None) -> Base:
    """The base that a spec describes, read from its source.

    Args:
        spec: from `parse_spec`.
        source: where a kind with `source="given"` lies; None for the others.
        progress: called now and then with the images read so far and their total (None where unknown).

    Raises:
        UsageError: a source too many or too few, a holdout beside a test split, or neither of them.
        MissingError: the source does not exist or is not laid out like this kind.
        DamagedError: something in the source cannot be read or makes no sense.
    """
    place = _place(spec, source)
    _check_holdout(spec, spec.kind.has_test(place))
    contents = spec.kind.read(place, spec.resize, progress or (lambda _done, _total: None))
    train, test = _splits(spec, contents)
    where = spec.name
    _check_classes(contents.classes, where)
    limit = IMAGE_SIDE if spec.resize is None else LARGEST_SOURCE
    for split, part in (("train", train), ("test", test)):
        _check_split(part, len(contents.classes), limit, f"{where}: {split}")
    if spec.resize is not None:
        train, test = (Labelled(resized(part.images, spec.resize), part.labels) for part in (train, test))
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join(f"{part.images.shape[2]}x{part.images.shape[1]}" for part in (train, test))
        raise UsageError(f"{where}: the splits differ in image size: {sizes}", "Pass --resize N to resize all to NxN")
    everything = tuple(range(len(contents.classes)))
    return Base(
        name=spec.name,
        classes=contents.classes,
        train=Split.of(train.images, train.labels),
        test=Split.of(test.images, test.labels),
        victim_classes=spec.kind.victim_classes or everything,
        pretrain_classes=spec.kind.pretrain_classes or everything,
        mirror=spec.kind.mirror,
    )


def _place(spec: Spec, source: Path | None) -> Path:
    if spec.kind.source == "given":
        if source is None:
            remedy = "Pass --download or --from PATH" if spec.kind.download else "Pass --from PATH"
            raise UsageError(f"base {spec.kind.name} needs a source", remedy)
        place = source.expanduser()
    elif source is not None:
        raise UsageError(f"base {spec.text} takes no separate source path")
    else:
        place = spec.path or Path()
    if not place.exists():
        raise MissingError(f"{place}: no such file or folder")
    return place


def _check_holdout(spec: Spec, has_test: bool) -> None:
    if has_test and spec.holdout is not None:
        raise UsageError(f"{spec.name} has its own test split; a holdout has no meaning", "Leave out --holdout")
    if not has_test and spec.holdout is None:
        raise UsageError(f"{spec.name} has no test split", "Pass `--holdout 1/20` to draw one from its images")


def _splits(spec: Spec, contents: Contents) -> tuple[Labelled, Labelled]:
    if contents.test is not None:
        return contents.train, contents.test
    if len(contents.train.labels) < 2:
        raise DamagedError(f"{spec.name}: fewer than two images cannot be split")
    return hold_out(contents.train, parse_fraction(spec.holdout or ""), spec.split_seed)


def _check_classes(classes: tuple[str, ...], where: str) -> None:
    if not 2 <= len(classes) <= CLASSES:
        raise DamagedError(f"{where}: {len(classes)} classes, 2 to {CLASSES} can be used")
    for label, name in enumerate(classes):
        if len(name) > CLASS_NAME_LENGTH or name.encode("utf-8", "ignore").decode() != name:
            raise DamagedError(f"{where}: the name of class {label} is too long or is not UTF-8")


def _check_split(part: Labelled, classes: int, limit: int, where: str) -> None:
    n, height, width, _ = part.images.shape
    if n == 0:
        raise DamagedError(f"{where} holds no image")
    if not (1 <= height <= limit and 1 <= width <= limit):
        raise DamagedError(f"{where}: images of {width}x{height} pixels, sides of 1-{limit} are read")
    if len(part.labels) != n:
        raise DamagedError(f"{where}: {n} images but {len(part.labels)} labels")
    low, high = int(part.labels.min()), int(part.labels.max())
    if low < 0 or high >= classes:
        raise DamagedError(f"{where}: labels from {low} to {high}, but the classes are 0-{classes - 1}")
