"""`poisonsets.compare`: results beside one another, ranked where they can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poisonsets.door.errors import speaks_python
from poisonsets.door.frames import frame
from poisonsets.door.results import Results
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.comparison.entries import By
from poisonsets.victims.comparison.formats import Format, written
from poisonsets.victims.comparison.ranking import Comparison, compare_rows
from poisonsets.victims.comparison.record import document
from poisonsets.victims.comparison.results_files import read_results

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Compared:
    """A comparison; `print` it, or take it as a `to_frame`, or as text of a format."""

    comparison: Comparison

    def __len__(self) -> int:
        return len(self.comparison.groups)

    def __repr__(self) -> str:
        return self.text().rstrip()

    def _repr_html_(self) -> str:
        return self.text("html")

    def text(self, style: Format = "table") -> str:
        """The comparison as `table`, `md`, `csv`, `tex`, `json` or `html`."""
        return written(self.comparison, style)

    def to_frame(self) -> pd.DataFrame:
        """A pandas table with a row an entry. Raises MissingError where pandas is not installed."""
        groups: list[dict[str, Any]] = document(self.comparison)["groups"]
        return frame([{"group": group["title"], **one} for group in groups for one in group["entries"]])


@speaks_python
def compare(*results: Results | str | Path, by: By = "attack", protocols: Sequence[str] = ()) -> Compared:
    """Rank what results say where base, trials, protocol and budget are the same.

    Args:
        results: what `score` and `evaluate` gave, results folders, or files of rows.
        by: what is ranked: `attack`, `defence` (own victims among them), `protocol` or `suite`.
        protocols: ids; only their rows are compared. All where empty.

    Raises:
        UsageError: no rows, two results of one job, or several protocols where one can be ranked.
        MissingError, DamagedError: a path cannot be read.
    """
    rows = {row.job: row for one in results if isinstance(one, Results) for row in one.rows}
    if paths := [Path(one) for one in results if not isinstance(one, Results)]:
        rows |= {row.job: row for row in read_results(paths)}
    if not rows:
        raise UsageError("no rows to compare", "Give results of a score or an evaluation, or their folders")
    return Compared(compare_rows(rows.values(), by, protocols))
