"""Rows of scores as Python meets them, with a summary for each victim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from poisonsets.door import markup
from poisonsets.door.frames import frame
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.summary import METRIC, Rate, Summary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Results:
    """The rows of a score. `len`, iteration and indexing go over the rows.

    Attributes:
        rows: one for each trial, victim and seed.
        summaries: one for each victim: success and clean control with intervals.
    """

    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, place: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[place]

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
