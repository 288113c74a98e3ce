"""A trial as Python meets it: its poisons, and the training sets that hold them or their clean bases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poisonsets.door import markup
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import Rule, TrainingRows, clean_control, compose, composed_images
from poisonsets.manifests.records.trial import Trial as Record
from poisonsets.manifests.sets import reader

if TYPE_CHECKING:
    from torch import Tensor

    from poisonsets.victims.training.dataset import TrainingSetDataset

SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class TrainingSet(reader.TrainingSet):
    """What a victim trains on.

    Attributes:
        images: uint8 [N, H, W, 3], RGB.
        labels: int64 [N]; with `remap=True` 0..C-1 in the order of `classes`.
        rows: where each row comes from. `rows.slot`, which is -1 for a clean image, is the answer: keep it from a
            defence.
        classes: the names of the victim's classes.
    """

    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        side = "x".join(map(str, self.images.shape[1:3]))
        return f"<training set: {len(self)} images {side}, {len(self.classes)} classes>"

    def dataset(self, transform: Callable[[Tensor], Any] | None = None) -> TrainingSetDataset:
        """A torch Dataset of (image, label): float32 [3, H, W] in 0..1, or what `transform` makes of that."""
        from poisonsets.victims.training.dataset import TrainingSetDataset

        return TrainingSetDataset(self, transform)


class Trial(reader.OpenTrial):
    """One attack of a set: its targets, its poisons, and what victims train on.

    Wherever a base can be given, None takes the one that the set pins, from the cache. `len` counts the poisons;
    iteration gives (image uint8 [H, W, 3], label) in slot order.
    """

    def __init__(self, owner: reader.PoisonSet, record: Record, own_base: Callable[[], Base]) -> None:
        super().__init__(owner, record)
        self._own_base = own_base

    def __len__(self) -> int:
        return len(self.record.slots.labels)

    def __iter__(self) -> Iterator[tuple[Images, int]]:
        images, labels = self.poisons()
        return iter(list(zip(images, labels.tolist(), strict=True)))

    def __repr__(self) -> str:
        label = self.record.adversarial_label
        return f"<trial {self.number}: {len(self)} poisons, {len(self.record.targets)} targets, wanted label {label}>"

    def training_set(self, base: Base | None = None, rule: Rule | None = None, *, remap: bool = False) -> TrainingSet:
        """What a victim trains on.

        Args:
            base: the base that the set pins.
            rule: a protocol's composition; None takes the trial's own.
            remap: labels 0..C-1 in the order of the victim's classes, in the place of the base's labels.

        Raises:
            MissingError: it is another base, or not in the cache.
            UsageError: the rule cannot be met.
            DamagedError: a shard is not what the manifest recorded.
        """
        pinned = self._pinned(base)
        return _composed(pinned, self._rows(pinned, rule), self.poisons()[0], remap=remap)

    def control_set(self, base: Base | None = None, rule: Rule | None = None, *, remap: bool = False) -> TrainingSet:
        """The clean control of `training_set`: each base in the place of its poison, under its true label.

        Raises:
            MissingError: it is another base, or not in the cache.
            UsageError: the rule cannot be met, or a poison's base is unknown.
        """
        pinned = self._pinned(base)
        wanted = rule or self.record.composition
        rows = clean_control(pinned.train.labels, self._rows(pinned, rule), wanted, pinned.victim_classes)
        if rows is None:
            raise UsageError(f"trial {self.number}: a poison's base is unknown, so there is no clean control")
        return _composed(pinned, rows, None, remap=remap)

    def dataset(
        self, base: Base | None = None, *, transform: Callable[[Tensor], Any] | None = None, remap: bool = True
    ) -> TrainingSetDataset:
        """`training_set` as a torch Dataset, see `TrainingSet.dataset`; labels are 0..C-1 unless `remap` is False."""
        return self.training_set(base, remap=remap).dataset(transform)

    def _repr_html_(self) -> str:
        base, (images, _) = self._pinned(None), self.poisons()
        shown: list[tuple[str, Images]] = []
        for slot, poison in enumerate(images[:SHOWN]):
            origin = self.record.slots.bases[slot]
            if origin is not None:
                shown.append((f"base {origin}", base.train.images[origin]))
            shown.append((f"slot {slot}", poison))
        return markup.pictures(repr(self), shown)

    def _rows(self, base: Base, rule: Rule | None) -> TrainingRows:
        return compose(base.train.labels, self.record, rule or self.record.composition, base.victim_classes)

    def _pinned(self, base: Base | None) -> Base:
        return self._own_base() if base is None else base.as_pinned(self._owner.manifest.base)


def _composed(base: Base, rows: TrainingRows, poisons: Images | None, *, remap: bool) -> TrainingSet:
    from poisonsets.victims.training.labels import positions

    classes = base.victim_classes
    labels = positions(rows.label, classes) if remap else rows.label
    names = tuple(base.classes[label] for label in classes)
    return TrainingSet(composed_images(base.train.images, rows, poisons), labels, rows, names)
