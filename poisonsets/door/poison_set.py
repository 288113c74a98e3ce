"""A poison set as Python meets it: `len`, iteration and indexing over trials, a table, pictures in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from poisonsets.door import markup
from poisonsets.door.bases import finder
from poisonsets.door.errors import speaks_python
from poisonsets.door.frames import frame
from poisonsets.door.items import Items
from poisonsets.door.trial import Trial
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.sets import reader

if TYPE_CHECKING:
    import pandas as pd


class PoisonSet(reader.PoisonSet, Items[Trial]):
    """An open poison set. `len` counts its trials; `set[0]`, `set[:3]` and iteration go by their order, `trial(7)` by
    their number. `path` is its folder, `manifest` everything that it says of itself."""

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, in ascending order."""
        return tuple(self._trials.values())

    @cached_property
    def _trials(self) -> Mapping[int, Trial]:
        return {record.trial: Trial(self, record, lambda: self.base) for record in self.manifest.trials}

    @cached_property
    def base(self) -> Base:
        """The base that it pins, from the cache.

        Raises:
            MissingError: it is not there; the remedy is the command that adds it.
            DamagedError: its file is not what was written.
        """
        return speaks_python(finder(None))(self.manifest.base)

    @speaks_python
    def trial(self, number: int) -> Trial:
        """The trial of that number. Raises UsageError where the set has none."""
        return self._trials[super().trial(number).number]

    def _items(self) -> tuple[Trial, ...]:
        return self.trials

    def __repr__(self) -> str:
        said = self.manifest
        trials = f"{len(self)} trial{'' if len(self) == 1 else 's'}"
        return f"<poison set {said.name}: {said.attack.name} on {said.base.name}, {trials}>"

    def to_frame(self) -> pd.DataFrame:
        """A pandas table with a row a trial. Raises MissingError where pandas is not installed."""
        return frame(self._records())

    def _records(self) -> list[dict[str, Any]]:
        return [
            {
                "trial": one.number,
                "poisons": len(one),
                "targets": len(one.record.targets),
                "adversarial_label": one.record.adversarial_label,
                "composition": one.record.composition.rule,
            }
            for one in self.trials
        ]

    def _repr_html_(self) -> str:
        records = self._records()
        columns = list(records[0]) if records else []
        return markup.table(repr(self), columns, [list(one.values()) for one in records])
