"""What a user says of a foreign set because its files cannot: claims, units, targets, the setup it was made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.records.origin import NamedSetup
from poisonsets.manifests.records.trial import Add, Constraint, InPlace, Linf
from poisonsets.manifests.trials.named import RULES, compute
from poisonsets.manifests.trials.plan import Plan
from poisonsets.manifests.trials.setup_file import read_setup

PUBLISHED: Final[Constraint] = Linf(levels=8)  # of the benchmark of Schwarzschild et al. (2021)
IN_PLACE: Final = InPlace()


@dataclass(frozen=True)
class Setup:
    """Published trials: a name for people, and the plan of trial n of a base, which raises UsageError."""

    name: str
    plan: Callable[[Base, int], Plan]


@dataclass(frozen=True)
class Declared:
    """Claims and answers; the defaults are those of the published benchmark.

    Attributes:
        constraint, labels, composition: what every trial claims.
        attack: the attack's name.
        unit: as `--unit` spells it; None lets it be found out.
        setup: what the trials were made for; bases and targets must then be its own.
        target: index into the base's test split, of a trial that names none.
        adversarial_label: of a set whose poisons have several labels or none.
    """

    constraint: Constraint = PUBLISHED
    labels: Literal["clean", "adversarial"] = "clean"
    composition: InPlace | Add = IN_PLACE
    attack: str = "unknown"
    unit: str | None = None
    setup: Setup | None = None
    target: int | None = None
    adversarial_label: int | None = None

    def line(self) -> str:
        """The claims in words, for a note."""
        constraint = self.constraint
        budget = f"epsilon {constraint.levels}" if isinstance(constraint, Linf) else "no pixel constraint"
        return f"{budget}, {self.labels} labels, composition {self.composition.rule}"


def setup(text: str) -> Setup:
    """A published setup by name, or by its file.

    Raises:
        MissingError: there is no such file.
        DamagedError: the file is no setup.
    """
    if text in RULES:
        return Setup(text, lambda base, number: compute(base, NamedSetup(name=text), number))
    file = read_setup(Path(text))
    return Setup(file.record.name, lambda base, number: file.plan(base, number))
