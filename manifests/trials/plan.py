"""What a trial is before any poison exists: its target, its bases and the label the attacker wants."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from poisonsets.manifests.records.trial import Add, Composition, InPlace, SplitTarget, Supplant

CompositionRule: TypeAlias = Literal["in-place", "add", "supplant"]


@dataclass(frozen=True)
class Plan:
    """One independent attack, decided but not crafted.

    Attributes:
        trial: its number, 0-based.
        targets: images of a pinned split, with their true labels.
        adversarial_label: the label the victim is to give the targets.
        bases: indices into the training split, one a candidate; an index may occur twice.
        poisons: how many of the candidates become poisons; all where None.
        source_classes: of a backdoor, the classes whose images are to be misclassified with the trigger on.
        removed: training images that the poisons supplant, as many as there are poisons; None where they do not.
    """

    trial: int
    targets: tuple[SplitTarget, ...]
    adversarial_label: int
    bases: tuple[int, ...]
    poisons: int | None = None
    source_classes: tuple[int, ...] = ()
    removed: tuple[int, ...] | None = None

    @property
    def keep(self) -> int:
        """The number of poisons."""
        return len(self.bases) if self.poisons is None else self.poisons


def composition_of(rule: CompositionRule, plan: Plan) -> Composition:
    """The composition of a trial under a rule."""
    if rule == "supplant":
        return Supplant(removed=plan.removed or ())
    return Add() if rule == "add" else InPlace()
