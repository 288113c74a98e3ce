"""The training rows of a victim and its clean control: the composition rule's, less the share the victim lacks."""

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.overlay.compose import TrainingRows, clean_control, compose
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.stream import Stream
from poisonsets.victims.protocols import Protocol


def training_rows(
    protocol: Protocol, trial: Trial, base: Base, victim_seed: int
) -> tuple[TrainingRows, TrainingRows | None]:
    """The rows of a trial's victim, and of its clean control where there is one.

    Poisons are always kept, and in the control the bases in their place. Of the clean images the first ones in an order
    drawn from the victim seed are kept, the share rounded up. Where more than a head is trained, both are sorted by
    base, so that controls with the same images are one control whatever the trial: each epoch draws its order anyway.

    Args:
        protocol: composition, `keep` and training.
        trial: its record.
        base: its training split is composed with; victims know its `victim_classes`.
        victim_seed: which of several victims.

    Raises: as `compose`.
    """
    rule, labels, classes = protocol.rule(trial), base.train.labels, base.victim_classes
    rows = compose(labels, trial, rule, classes)
    control = clean_control(labels, rows, rule, classes)
    aligned = control is not None and np.array_equal(control.base, rows.base)
    lost = _lost(rows, protocol.keep, victim_seed, images=len(labels))
    left = (rows.slot >= 0) | ~np.isin(rows.base, lost)
    if control is not None:
        control = _taken(control, np.flatnonzero(left if aligned else ~np.isin(control.base, lost)))
    rows = _taken(rows, np.flatnonzero(left))
    if protocol.training == "frozen":
        return rows, control
    order = np.argsort(rows.base, kind="stable")
    if control is not None:
        control = _taken(control, order if aligned else np.argsort(control.base, kind="stable"))
    return _taken(rows, order), control


def _lost(rows: TrainingRows, keep: str, victim_seed: int, *, images: int) -> NDArray[np.int64]:
    """The clean images that are not kept, ids into the training split."""
    clean = np.unique(rows.base[rows.slot < 0])
    count = -(-len(clean) * Fraction(keep).numerator // Fraction(keep).denominator)
    if count == len(clean):
        return clean[:0]
    # Drawn over the whole split, so that trials of one seed keep the same images as far as their rows allow.
    rank = torch.randperm(images, generator=torch.Generator().manual_seed(Stream("keep", victim_seed).seed())).numpy()
    return clean[np.argsort(rank[clean])[count:]]


def _taken(rows: TrainingRows, places: NDArray[np.int64]) -> TrainingRows:
    return TrainingRows(rows.base[places], rows.slot[places], rows.label[places])
