"""What a file in `kinds/` provides: one or more `BaseKind` values in a tuple called KINDS.

Adding a kind of base dataset is adding one file there; the registry finds it by the folder listing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.workers import Progress


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 [N, H, W, 3] (RGB) and labels int64 [N], in the order of their source."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Contents:
    """A dataset as its source holds it.

    Attributes:
        classes: a name for each label; None: the numbers up to the largest label.
        train, test: the splits; `test` is None where the source has none.
    """

    classes: tuple[str, ...] | None
    train: LabelledImages
    test: LabelledImages | None


def class_names(document: Any, where: str) -> tuple[str, ...]:
    """The class names that a JSON document lists.

    Raises:
        DamagedError: it is something else.
    """
    if type(document) is not list or any(type(name) is not str for name in document):
        raise DamagedError(f"{where}: not a JSON list of names")
    return tuple(document)


# read(source, resize, progress): `resize` is the side in pixels to resize to while decoding, or None. A
# reader whose images all have one size may leave that to `build`. Embedded kinds ignore `source`.
Reader: TypeAlias = Callable[[Path, int | None, Progress], Contents]


@dataclass(frozen=True)
class BaseKind:
    """A kind of base dataset.

    Attributes:
        name: what a spec begins with.
        summary: one line for `list bases`.
        source: `embedded` (made on first use), `spec` (`NAME:PATH`, the path is part of what it is), or `given` (one
            dataset wherever it lies: `base add NAME --from PATH`).
        read: reads the source.
        has_test: whether the source has a test split; asked before a single image is read.
        mirror: whether an image and its mirror image show the same thing.
        victim_classes: labels that trials and victims use; None means all.
        pretrain_classes: labels a feature extractor may be trained on; None means all.
        download: whether the command line can fetch it.
    """

    name: str
    summary: str
    source: Literal["embedded", "given", "spec"]
    read: Reader
    has_test: Callable[[Path], bool] = lambda _source: True
    mirror: bool = True
    victim_classes: tuple[int, ...] | None = None
    pretrain_classes: tuple[int, ...] | None = None
    download: bool = False

    @property
    def usage(self) -> str:
        """How a spec of this kind is written, for instance `folder:PATH`."""
        return f"{self.name}:PATH" if self.source == "spec" else self.name
