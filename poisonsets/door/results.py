"""Rows of scores as Python meets them, with a summary for each victim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poisonsets.door import markup
from poisonsets.door.frames import frame
from poisonsets.door.items import Items
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.summary import METRIC, Rate, Summary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Results(Items[Row]):
    """The rows of a score. `len`, iteration and indexing go over the rows.

    Attributes:
        rows: one for each trial, victim and seed.
        summaries: one for each victim: success and clean control with intervals.
    """

    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]

    def _items(self) -> tuple[Row, ...]:
        return self.rows

    def __repr__(self) -> str:
        rates = ", ".join(f"{o.protocol} {_count(o.poisoned)} (control {_count(o.control)})" for o in self.summaries)
        return f"<results: {len(self)} row{'' if len(self) == 1 else 's'}; {rates}>"

    def to_frame(self) -> pd.DataFrame:
        """A pandas table with a row a victim. Raises MissingError where pandas is not installed."""
        return frame([row.model_dump(mode="json", exclude={"targets"}) for row in self.rows])

    def _repr_html_(self) -> str:
        columns = ("victim", "success", "95 % interval", "clean control", "clean accuracy")
        return markup.table(METRIC, columns, [_cells(one) for one in self.summaries])


def _cells(one: Summary) -> list[Any]:
    low, high = one.poisoned.interval
    interval = f"{100 * low:.0f} to {100 * high:.0f} %"
    correct, images = one.clean
    accuracy = f"{100 * correct / images:.1f} %" if images else "none"
    return [one.protocol, _count(one.poisoned), interval, _count(one.control), accuracy]


def _count(rate: Rate | None) -> str:
    return "none" if rate is None else f"{rate.successes}/{rate.n}"
