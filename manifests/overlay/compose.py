"""The victim's training set: which row is a base image and which a poison.

Score, clean control and export all call `compose`. A protocol's `keep` then removes a share of the clean rows
(`victims/trainers/training_rows.py`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import Add, InPlace, Slots, Supplant, Trial


@dataclass(frozen=True)
class ByCount:
    """The published benchmark's rule: the first images of each class, poisons replacing by count.

    Each class gets its first `size / classes` images that are no base of the trial, the class of the poisons' label
    as many fewer as there are poisons; the poisons follow. The set always has exactly `size` rows.
    Source: learning_module.py of the benchmark of Schwarzschild et al. (2021), lines 125-175.
    """

    size: int
    rule: Literal["by-count"] = "by-count"


Rule = InPlace | Add | Supplant | ByCount


@dataclass(frozen=True)
class TrainingRows:
    """A training set as int64 columns of equal length.

    Attributes:
        base: index into the base's training split; for a poison its base, -1 if unknown.
        slot: the poison's slot; -1 for a clean row.
        label: the label that the victim trains on.
    """

    base: NDArray[np.int64]
    slot: NDArray[np.int64]
    label: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def digest(self) -> str:
        """The sha256 of the columns."""
        columns = np.stack([self.base, self.slot, self.label]).astype("<i8")
        return hashlib.sha256(columns.tobytes()).hexdigest()


def compose(labels: NDArray[np.int64], trial: Trial, rule: Rule, classes: Sequence[int]) -> TrainingRows:
    """The rows of a victim's training set.

    Args:
        labels: int64 [N], the labels of the base's training split.
        trial: its poisons go in.
        rule: the trial's composition, or a protocol's.
        classes: the victim's classes; images of others are left out.

    Raises:
        UsageError: the rule cannot be met, for instance for too few images in a class.
    """
    return compose_slots(labels, trial.slots, rule, classes)


def compose_slots(labels: NDArray[np.int64], slots_of: Slots, rule: Rule, classes: Sequence[int]) -> TrainingRows:
    """As `compose`, for poisons that are no trial yet."""
    bases = np.array([-1 if base is None else base for base in slots_of.bases], dtype=np.int64)
    poison_labels = np.array(slots_of.labels, dtype=np.int64)
    slots = np.arange(len(bases), dtype=np.int64)
    if isinstance(rule, InPlace):
        return _in_place(labels, bases, poison_labels, slots, classes)
    if isinstance(rule, ByCount):
        kept = _first_of_each_class(labels, bases, poison_labels, rule.size, classes)
    else:
        kept = np.flatnonzero(np.isin(labels, classes))
        if isinstance(rule, Supplant):
            kept = kept[~np.isin(kept, rule.removed)]
    clean = TrainingRows(kept, np.full(len(kept), -1, dtype=np.int64), labels[kept])
    return _joined(clean, TrainingRows(bases, slots, poison_labels))


def composed_images(clean: Images, rows: TrainingRows, poisons: Images | None) -> Images:
    """The images of a training set, uint8 [N, H, W, 3], by row.

    Args:
        clean: uint8 [M, H, W, 3], the base's training split.
        poisons: uint8 [P, H, W, 3] by slot; None if no row has a slot.
    """
    images: Images = clean[np.maximum(rows.base, 0)]
    if poisons is not None:
        poisoned = np.flatnonzero(rows.slot >= 0)
        images[poisoned] = poisons[rows.slot[poisoned]]
    return images


def clean_control(
    labels: NDArray[np.int64], rows: TrainingRows, rule: Rule, classes: Sequence[int]
) -> TrainingRows | None:
    """The training set that `compose` gave for this rule, with each base instead of its poison, under its true label.

    The images that a supplanting trial removed replace all its poisons. None if a base is unknown.
    """
    if isinstance(rule, Supplant):
        clean = rows.base[rows.slot < 0]
        removed = np.array(rule.removed, dtype=np.int64)
        restored = np.sort(np.concatenate([clean, removed[np.isin(labels[removed], classes)]]))
        return TrainingRows(restored, np.full(len(restored), -1, dtype=np.int64), labels[restored])
    if (rows.base < 0).any():
        return None
    return TrainingRows(rows.base, np.full(len(rows), -1, dtype=np.int64), labels[rows.base])


def _in_place(
    labels: NDArray[np.int64],
    bases: NDArray[np.int64],
    poison_labels: NDArray[np.int64],
    slots: NDArray[np.int64],
    classes: Sequence[int],
) -> TrainingRows:
    """Each poison replaces its base; a second poison of one base, or one of unknown base, goes at the end."""
    kept = np.flatnonzero(np.isin(labels, classes))
    slot_column = np.full(len(kept), -1, dtype=np.int64)
    label_column = labels[kept].copy()
    row = np.searchsorted(kept, bases)
    there = np.flatnonzero(np.isin(bases, kept))
    _, first = np.unique(row[there], return_index=True)
    replacing = there[first]
    slot_column[row[replacing]], label_column[row[replacing]] = slots[replacing], poison_labels[replacing]
    added = np.setdiff1d(slots, replacing)
    return _joined(
        TrainingRows(kept, slot_column, label_column), TrainingRows(bases[added], slots[added], poison_labels[added])
    )


def _first_of_each_class(
    labels: NDArray[np.int64],
    bases: NDArray[np.int64],
    poison_labels: NDArray[np.int64],
    size: int,
    classes: Sequence[int],
) -> NDArray[np.int64]:
    if size % len(classes):
        raise UsageError(f"a training set of {size} images cannot be shared evenly by {len(classes)} classes")
    if poison_labels[0] not in classes:
        raise UsageError(f"the poisons' label {poison_labels[0]} is not one of the victim's classes {list(classes)}")
    kept = []
    for label in classes:
        wanted = size // len(classes)
        if label == poison_labels[0]:
            wanted -= len(bases)
        candidates = np.flatnonzero(labels == label)
        candidates = candidates[~np.isin(candidates, bases)]
        if not 0 <= wanted <= len(candidates):
            raise UsageError(
                f"by-count composition needs {wanted} clean images of class {label}, the base has {len(candidates)}",
                "Choose a protocol with another training-set size or a set with fewer poisons",
            )
        kept.append(candidates[:wanted])
    return np.concatenate(kept)


def _joined(first: TrainingRows, second: TrainingRows) -> TrainingRows:
    return TrainingRows(
        np.concatenate([first.base, second.base]),
        np.concatenate([first.slot, second.slot]),
        np.concatenate([first.label, second.label]),
    )
