"""What checks receive: the whole set or one trial of it, with what several checks need computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.overlay.stamp import Trigger, footprint, train_id
from poisonsets.manifests.records.trial import Trial, Unconstrained
from poisonsets.manifests.sets.reader import OpenTrial, PoisonSet
from poisonsets.manifests.trials.published import PublishedSetup
from poisonsets.manifests.verification.distance import Ids, largest, pixel_differences, squared
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.image_lookup import ImageLookup


@dataclass(frozen=True)
class CheckedSet:
    """A set as the checks see it; `base` has the digests that the manifest pins, `setup` is from `verify --setup`."""

    opened: PoisonSet
    base: Base
    setup: PublishedSetup | None = None

    @cached_property
    def train_lookup(self) -> ImageLookup:
        """The base's training images, to look others up in."""
        return ImageLookup(self.base.train.images)

    @cached_property
    def test_lookup(self) -> ImageLookup:
        """The base's test images, to look others up in."""
        return ImageLookup(self.base.test.images)


@dataclass(frozen=True)
class Pairs:
    """The poisons whose base is named and exists, in shard order, as int64 [P] columns.

    `rows` are positions in the shards, `bases` indices into the training split; iteration gives (slot, row, base).
    """

    slots: Ids
    rows: Ids
    bases: Ids

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return iter(zip(self.slots.tolist(), self.rows.tolist(), self.bases.tolist(), strict=True))

    def only(self, chosen: NDArray[np.bool_]) -> Pairs:
        """The pairs where bool [P] is true."""
        return Pairs(self.slots[chosen], self.rows[chosen], self.bases[chosen])


@dataclass(frozen=True)
class Distances:
    """For each of a trial's `Pairs`, its largest channel difference in levels and its squared distance: [P] each."""

    largest: NDArray[np.uint8]
    squared: NDArray[np.int64]


@dataclass(frozen=True)
class CheckedTrial:
    """A trial as the checks see it.

    Attributes:
        keys, images, labels: (trial, slot), uint8 [N, H, W, 3] and int64 [N] of every sample, in shard order.
        row_of: the row, in these three, of each declared slot that is there exactly once.
    """

    checked_set: CheckedSet
    opened: OpenTrial
    keys: tuple[tuple[int, int], ...]
    images: Images
    labels: Labels
    row_of: dict[int, int]

    @property
    def poison_set(self) -> PoisonSet:
        """The open set."""
        return self.checked_set.opened

    @property
    def base(self) -> Base:
        """The base dataset."""
        return self.checked_set.base

    @property
    def record(self) -> Trial:
        """The trial's record in the manifest."""
        return self.opened.record

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.opened.number

    def trigger(self) -> Trigger | None:
        """The trial's trigger with its picture and mask, or None."""
        return self.opened.trigger()

    @property
    def exempt(self) -> Trigger | None:
        """The trial's trigger if its pixels are exempt from the constraint."""
        return self.trigger() if exempts_trigger(self.record) else None

    @cached_property
    def pairs(self) -> Pairs:
        """The poisons that have a base to compare with."""
        bases, count = self.record.slots.bases, len(self.base.train.labels)
        known = [(slot, row, base) for slot, row in self.row_of.items() if (base := bases[slot]) is not None]
        columns = np.array([one for one in known if one[2] < count], dtype=np.int64).reshape(-1, 3)
        slots, rows, ids = np.ascontiguousarray(columns.T)
        return Pairs(slots, rows, ids)

    @cached_property
    def everywhere(self) -> Distances:
        """The distances over all pixels."""
        return self._distances(None)

    @cached_property
    def distances(self) -> Distances:
        """The distances without the pixels that the constraint exempts.

        Raises:
            UsageError: the trigger does not fit.
            DamagedError: its picture cannot be read.
        """
        exempt = self.exempt
        return self.everywhere if exempt is None else self._distances(exempt)

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """bool [slots]: which poisons differ from their base; those of unknown base do."""
        bases = self.record.slots.bases
        found = np.array([base is None for base in bases]) & np.isin(np.arange(len(bases)), list(self.row_of))
        found[self.pairs.slots[self.everywhere.largest > 0]] = True
        return found

    @cached_property
    def lookup(self) -> ImageLookup:
        """All samples' images, to look others up in."""
        return ImageLookup(self.images)

    @cached_property
    def slot_of(self) -> dict[int, int]:
        """The inverse of `row_of`."""
        return {row: slot for slot, row in self.row_of.items()}

    def finding(self, code: str, message: str, *, slot: int | None = None, remedy: str = "") -> Finding:
        """A finding at this trial, or at one of its slots."""
        return Finding(code, message, remedy, trial=self.number, slot=slot)

    def _distances(self, exempt: Trigger | None) -> Distances:
        pairs, clean = self.pairs, self.base.train.images
        found = Distances(np.zeros(len(pairs.rows), dtype=np.uint8), np.zeros(len(pairs.rows), dtype=np.int64))
        for some, differences in pixel_differences(self.images, pairs.rows, clean, pairs.bases):
            if exempt is not None:
                for image, base in zip(differences, pairs.bases[some].tolist(), strict=True):
                    image[footprint(exempt, image.shape[0], image.shape[1], train_id(base))] = 0
            found.largest[some], found.squared[some] = largest(differences), squared(differences)
        return found


def exempts_trigger(record: Trial) -> bool:
    """Whether a trial's constraint leaves out the pixels under its trigger."""
    return not isinstance(record.constraint, Unconstrained) and record.constraint.exempt_trigger
