"""What a file in `kinds/` provides: `BaseKind` values in a tuple called KINDS. The folder listing is the registry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.bases.inventory import Inventory
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.workers import Progress


@dataclass(frozen=True)
class Source:
    """Where a base is read from.

    Attributes:
        path: a folder or file; the current folder for embedded kinds.
        train, test: globs for what belongs to a split, relative to the path; none leaves it to the names there.
    """

    path: Path
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """A dataset as its source holds it.

    Attributes:
        classes: a name for each label; None stands for the numbers up to the largest label.
        train, test: the splits; `test` is None where the source has no such split.
        inventory: where they were found, and what the source holds besides.
    """

    classes: tuple[str, ...] | None
    train: Split
    test: Split | None
    inventory: Inventory = field(default_factory=Inventory)


def class_names(document: Any, where: str) -> tuple[str, ...]:
    """The class names in a JSON document. Raises DamagedError where it is not a list of texts."""
    if type(document) is not list or any(type(name) is not str for name in document):
        raise DamagedError(f"{where}: not a JSON list of names")
    return tuple(document)


# read(source, resize, progress): `resize` is the side in pixels to resize to while decoding, or None. A reader whose
# images all have one size may leave that to `build`. Embedded kinds ignore `source`.
Reader: TypeAlias = Callable[[Source, int | None, Progress], Contents]


@dataclass(frozen=True)
class BaseKind:
    """A kind of base dataset.

    Attributes:
        name: what a spec begins with.
        summary: one line for `list bases`.
        source: `embedded` (made on first use), `spec` (named `NAME:PATH`: another path is another base), or `given`
            (one dataset, wherever its files are: `base add NAME --from PATH`).
        read: reads the source.
        has_test: whether the source has a test split; asked before any image is read.
        globs: whether `--train` and `--test` can tell what belongs to a split.
        mirror: whether an image and its mirror image show the same thing.
        victim_classes: labels that trials and victims use; None means all.
        pretrain_classes: labels that a feature extractor may be trained on; None means all.
        download: whether the command line can fetch it.
    """

    name: str
    summary: str
    source: Literal["embedded", "given", "spec"]
    read: Reader
    has_test: Callable[[Source], bool] = lambda _source: True
    globs: bool = False
    mirror: bool = True
    victim_classes: tuple[int, ...] | None = None
    pretrain_classes: tuple[int, ...] | None = None
    download: bool = False

    @property
    def usage(self) -> str:
        """How a spec of this kind is written, for instance `folder:PATH`."""
        return f"{self.name}:PATH" if self.source == "spec" else self.name
