"""A verification report as Python meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poisonsets.door import markup
from poisonsets.door.frames import frame
from poisonsets.door.items import Items
from poisonsets.manifests.verification import findings
from poisonsets.manifests.verification.findings import Finding

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class VerificationReport(Items[Finding]):
    """What verification found. `len`, iteration and indexing go over the findings, of which the first of each code are
    kept; it is true in a condition where every claim that bytes can prove holds.

    Attributes:
        details: all of it: counts, rates, and the claims that nobody could check.
    """

    details: findings.Report

    @property
    def clean(self) -> bool:
        """Whether there is neither damage nor a false claim."""
        return self.details.clean

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, the gravest first."""
        return self.details.findings

    def __bool__(self) -> bool:
        return self.clean

    def _items(self) -> tuple[Finding, ...]:
        return self.findings

    def __repr__(self) -> str:
        found = f"{self.details.total} finding{'' if self.details.total == 1 else 's'}"
        verdict = self.details.holding if self.clean else "it does not verify"
        return f"<report on {self.details.path}: {verdict}, {found}>"

    def to_frame(self) -> pd.DataFrame:
        """A pandas table with a row a finding. Raises MissingError where pandas is not installed."""
        return frame(self._records())

    def _records(self) -> list[dict[str, Any]]:
        return [
            {"code": one.code, "kind": one.kind, "trial": one.trial, "slot": one.slot, "finding": one.sentence}
            for one in self.findings
        ]

    def _repr_html_(self) -> str:
        columns = ("code", "kind", "place", "finding")
        return markup.table(repr(self), columns, [(o.code, o.kind, o.place, o.sentence) for o in self.findings])
