"""A trial of a foreign set as its files have it, before anyone asked what they mean: the one value formats agree on."""

from __future__ import annotations

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
    """A target; whatever its files do not say is None.

    Attributes:
        image: uint8 [H, W, 3], as the file has it.
        label: its true label.
        index: into the base's test split.
    """

    image: Images | None = None
    label: int | None = None
    index: int | None = None


@dataclass(frozen=True)
class ForeignTrial:
    """One trial.

    Attributes:
        pixels: [P, H, W, 3], of any numeric type; `units.py` finds out or asks what they mean. Without values where
            the trial cannot be read any further.
        labels: one a poison; None where the files do not say.
        bases: the training image each poison was made from, None where that is unknown; None for all of it where the
            files hold no list.
        adds: whether the pixels are what was added to the bases.
        targets: in the files' order.
        adversarial_label: where the files say it apart from the poisons' labels.
        trigger: to be put on the targets; of a backdoor.
        source_classes: what it acts on, where the files say it apart from the targets.
        hints: what is odd about the files, of no trial yet.
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


# From a place (a folder or file) to the trial in it.
TrialReader: TypeAlias = Callable[[Path, Base], ForeignTrial]
# From a trial and its base to the trial's files, by their path within the trial's folder.
TrialWriter: TypeAlias = Callable[[OpenTrial, Base], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True)
class Format:
    """A format of poison sets other than our own; a file in `formats/` has one in FORMAT.

    Attributes:
        name: what `import` and `export --to` call it.
        summary: one line for `list formats`.
        sniff: whether a file or folder is a trial of this format, told by names and first bytes alone. It may say no
            to what `read` can read, where something else could look like it.
        read: reads one trial. Raises DamagedError, MissingError or UsageError.
        write: gives the files of one trial; None where nobody reads the format. Raises UsageError where the format
            cannot say the trial at all.
        carries: what it says of a trial beside its poisons and their labels, in the words of `losses.FIELDS`.
    """

    name: str
    summary: str
    sniff: Callable[[Path], bool]
    read: TrialReader
    write: TrialWriter | None = None
    carries: frozenset[str] = frozenset()


PLAIN_FIELDS: Final = frozenset({"bases", "unknown bases", "target", "targets", "adversarial label"})
"""What formats carry that hold poisons and targets as plain images."""
