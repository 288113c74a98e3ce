"""What the user says of a foreign set because its files do not: claims, units, targets and setup."""

from dataclasses import dataclass, field
from typing import Literal

from poisonsets.manifests.records.trial import Add, Constraint, InPlace, Linf
from poisonsets.manifests.trials.published import PublishedSetup


@dataclass(frozen=True)
class Claims:
    """Claims and answers for every trial; the defaults are the published benchmark's (Schwarzschild et al., 2021).

    Attributes:
        attack: the attack's name.
        unit: as `--unit` spells it; None infers it.
        setup: the setup that the trials were made for, whose bases and targets they must have.
        target: index into the base's test split, for trials that name no target.
        adversarial_label: for sets whose poisons have several labels or none.
    """

    constraint: Constraint = field(default_factory=lambda: Linf(levels=8))
    labels: Literal["clean", "adversarial"] = "clean"
    composition: InPlace | Add = field(default_factory=InPlace)
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
