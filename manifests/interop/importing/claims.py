"""What a user says of a foreign set because its files cannot: claims, units, targets, the setup it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from poisonsets.manifests.records.trial import Add, Constraint, InPlace, Linf
from poisonsets.manifests.trials.published import PublishedSetup

PUBLISHED_BUDGET: Final[Constraint] = Linf(levels=8)  # of the benchmark of Schwarzschild et al. (2021)
IN_PLACE: Final = InPlace()


@dataclass(frozen=True)
class Claims:
    """Claims and answers; the defaults are those of the published benchmark.

    Attributes:
        constraint, labels, composition: what every trial claims.
        attack: the attack's name.
        unit: as `--unit` spells it; None lets it be found out.
        setup: what the trials were made for; bases and targets must then be its own.
        target: index into the base's test split, of a trial that names none.
        adversarial_label: of a set whose poisons have several labels or none.
    """

    constraint: Constraint = PUBLISHED_BUDGET
    labels: Literal["clean", "adversarial"] = "clean"
    composition: InPlace | Add = IN_PLACE
    attack: str = "unknown"
    unit: str | None = None
    setup: PublishedSetup | None = None
    target: int | None = None
    adversarial_label: int | None = None

    def line(self) -> str:
        """The claims in words, for a note."""
        constraint = self.constraint
        budget = f"epsilon {constraint.levels}" if isinstance(constraint, Linf) else "no pixel constraint"
        return f"{budget}, {self.labels} labels, composition {self.composition.rule}"
