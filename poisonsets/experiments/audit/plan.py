"""What an audit runs: the poison sets it crafts, and the victims that each of them meets."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol, of_network

AIMED: Final = "bullseye-polytope"
AIMLESS: Final = "noise"
BACKDOOR: Final = "patch-backdoor"
FROZEN: Final = "transfer"
END_TO_END: Final = "finetune"
USUAL_EPSILON: Final = 8
USUAL_POISONS: Final = 25
PAD: Final = 4  # pixels that victims with augmentation shift their images by

VictimKind: TypeAlias = Literal["known", "unknown", "augmented", "finetuned"]


@dataclass(frozen=True)
class PlannedSet:
    """A poison set to craft; `epsilon` is in levels of 255, None where the attack has no bound."""

    attack: str
    poisons: int
    epsilon: int | None

    @property
    def name(self) -> str:
        """The set's name and that of its folder, for instance `bullseye-polytope-25-at-8`."""
        return f"{self.attack}-{self.poisons}" + ("" if self.epsilon is None else f"-at-{self.epsilon}")


@dataclass(frozen=True)
class PlannedVictims:
    """How the victims of a cell are trained.

    Attributes:
        kind: `known`: heads on the surrogate's frozen features, without augmentation; `unknown`: on features of a
            network that the attacker does not have; `augmented`: as known, on images shifted and, where the base
            allows it, mirrored at random; `finetuned`: the surrogate's network is trained whole.
        protocol: every setting.
        extractor: the weights they start from.
    """

    kind: VictimKind
    protocol: Protocol
    extractor: Weights


@dataclass(frozen=True)
class Cell:
    """One poison set and the victims that are trained on it."""

    poisoned: PlannedSet
    victims: PlannedVictims

    @property
    def name(self) -> str:
        """The name of its results folder."""
        return f"{self.poisoned.name}-{self.victims.kind}"


@dataclass(frozen=True)
class AuditPlan:
    """Everything that decides what an audit measures.

    Attributes:
        base: the photographs.
        surrogate: the attacker's network, from whose features most victims learn.
        extractor: a network the attacker does not have; None leaves its cell out.
        epsilons: l-infinity budgets in levels of 255, ascending.
        poisons: numbers of poisons a trial, ascending.
        trials: how many, drawn from `seed` as `craft` draws them.
        steps: of bullseye-polytope.
        augment: whether the attacker shifts and mirrors the poisons at random in every step.
        finetune: whether victims are also fine-tuned whole.
        seed: of trials and attacks.

    Raises:
        UsageError: the base has fewer training images of a class than poisons, or than two classes.
    """

    base: Base
    surrogate: Weights
    extractor: Weights | None
    epsilons: Sequence[int] = (4, 8, 16)
    poisons: Sequence[int] = (25,)
    trials: int = 20
    steps: int = 100
    augment: bool = False
    finetune: bool = False
    seed: int = 0
    sets: tuple[PlannedSet, ...] = field(init=False)
    cells: tuple[Cell, ...] = field(init=False)

    def __post_init__(self) -> None:
        refuse_few(self.base, max(self.poisons))
        object.__setattr__(self, "sets", self._sets())
        object.__setattr__(self, "cells", self._cells())

    @property
    def headline(self) -> PlannedSet:
        """The set of the page's first sentence: the usual budget, or the nearest there is; fixed before any result."""
        epsilon = min(self.epsilons, key=lambda levels: (abs(levels - USUAL_EPSILON), levels))
        poisons = min(self.poisons, key=lambda count: (abs(count - USUAL_POISONS), count))
        return PlannedSet(AIMED, poisons, epsilon)

    def _sets(self) -> tuple[PlannedSet, ...]:
        bounded = [
            PlannedSet(attack, poisons, epsilon)
            for attack in (AIMED, AIMLESS)
            for poisons in self.poisons
            for epsilon in self.epsilons
        ]
        return (*bounded, *(PlannedSet(BACKDOOR, poisons, None) for poisons in self.poisons))

    def _cells(self) -> tuple[Cell, ...]:
        known = PlannedVictims("known", _protocol(FROZEN, self.surrogate), self.surrogate)
        return (
            *(Cell(poisoned, known) for poisoned in self.sets),
            *(Cell(self.headline, victims) for victims in self._other_victims()),
        )

    def _other_victims(self) -> list[PlannedVictims]:
        """Those that the headline's set meets besides the usual ones."""
        surrogate, extractor = self.surrogate, self.extractor
        others = []
        if extractor is not None:
            others.append(PlannedVictims("unknown", _protocol(FROZEN, extractor), extractor))
        mirrored = self.base.mirror
        others.append(PlannedVictims("augmented", _protocol(FROZEN, surrogate, PAD, mirrored), surrogate))
        if self.finetune:
            others.append(PlannedVictims("finetuned", _protocol(END_TO_END, surrogate), surrogate))
        return others


def refuse_few(base: Base, poisons: int) -> None:
    """Raise a UsageError where a class of the base cannot give that many poisons, or there is no second class."""
    if len(base.victim_classes) < 2:
        raise UsageError(f"{base.name} has one class; an attack needs a second one", "Add a folder of another class")
    counts = np.bincount(base.train.labels, minlength=len(base.classes))
    label = min(base.victim_classes, key=lambda one: int(counts[one]))
    if counts[label] < poisons:
        found = f"class {base.classes[label]} of {base.name} has {counts[label]} training images, {poisons} poisons"
        remedy = f"Add `--poisons {counts[label]}` or fewer" if counts[label] else "Add images to it"
        raise UsageError(f"{found} were asked for", f"{remedy}, or take the class out")


def _protocol(suite: str, weights: Weights, pad: int = 0, flip: bool = False) -> Protocol:
    """Victims of these weights on every training image of the base, seen in views of this pad."""
    found = of_network(suite, weights.network.spec.shape)
    return replace(found, augment="crop" if pad else "none", pad=pad, flip=flip)
