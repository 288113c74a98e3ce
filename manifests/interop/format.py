"""What all formats share: a trial of a foreign set exactly as its files have it, and what a format is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.sets.reader import OpenTrial
from poisonsets.manifests.verification.findings import Finding


@dataclass(frozen=True)
class ForeignTarget:
    """A target: uint8 [H, W, 3], true label and index into the base's test split; None if the files do not say."""

    image: Images | None = None
    label: int | None = None
    index: int | None = None


@dataclass(frozen=True)
class ForeignTrial:
    """One trial.

    Attributes:
        pixels: [P, H, W, 3], of any numeric type, in units for `units.py` to infer.
        labels: one per poison; None where the files do not say.
        bases: the training index each poison was made from, None where unknown; None if the files hold no list.
        adds: whether the pixels are differences from the bases.
        adversarial_label: if the files say it apart from the poisons' labels.
        trigger: to be stamped on the targets of a backdoor.
        source_classes: if the files say them apart from the targets.
        hints: what is odd about the files, without a trial number.
    """

    pixels: NDArray[Any]
    labels: tuple[int | None, ...]
    bases: tuple[int | None, ...] | None
    adds: bool = False
    targets: tuple[ForeignTarget, ...] = ()
    adversarial_label: int | None = None
    trigger: Trigger | None = None
    source_classes: tuple[int, ...] = ()
    hints: tuple[Finding, ...] = ()


TrialReader: TypeAlias = Callable[[Path, Base], ForeignTrial]
TrialWriter: TypeAlias = Callable[[OpenTrial, Base], Iterator[tuple[str, bytes]]]
"""Gives a trial's files, by their path within the trial's folder."""


@dataclass(frozen=True)
class Format:
    """A foreign format of poison sets; each file in `formats/` defines one as FORMAT.

    Attributes:
        name: its name for `import` and `export --to`.
        summary: one line for `list formats`.
        sniff: tells by names and first bytes whether a path is a trial of this format; may reject ambiguous ones.
        read: reads one trial. Raises DamagedError, MissingError or UsageError.
        write: None if nobody reads the format. Raises UsageError if the format cannot express the trial.
        carries: what it says of a trial besides its poisons and their labels, as keys of `losses.FIELDS`.
    """

    name: str
    summary: str
    sniff: Callable[[Path], bool]
    read: TrialReader
    write: TrialWriter | None = None
    carries: frozenset[str] = frozenset()


PLAIN_FIELDS: Final = frozenset({"bases", "unknown bases", "target", "targets", "adversarial label"})
"""What formats of plain poison and target images carry."""
