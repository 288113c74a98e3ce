"""A trial in the manifest: targets, constraint, composition, and its poisons by slot."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from poisonsets.manifests import limits
from poisonsets.manifests.records.fields import Decimal, Index, Label, Name, Sha256, SplitName, Strict


class Linf(Strict):
    """Every channel value lies within `levels` of the base's (8 means 8/255)."""

    norm: Literal["linf"] = "linf"
    levels: Annotated[int, Field(ge=1, le=255)]
    exempt_trigger: bool = False


class L2(Strict):
    """The squared level differences of an image sum to at most `squared_levels`."""

    norm: Literal["l2"] = "l2"
    squared_levels: Annotated[int, Field(ge=1, le=255**2 * 3 * limits.IMAGE_SIDE**2)]
    exempt_trigger: bool = False


class Unconstrained(Strict):
    """Any pixels."""

    norm: Literal["none"] = "none"


Constraint: TypeAlias = Annotated[Linf | L2 | Unconstrained, Field(discriminator="norm")]


class SplitTarget(Strict):
    """A target that is an image of a pinned split; its `adversarial_label` is None where it is the trial's."""

    kind: Literal["split"] = "split"
    split: SplitName
    index: Index
    label: Label
    adversarial_label: Label | None = None

    @property
    def image_id(self) -> str:
        """For instance `test/3`; a trigger's random place is drawn from it."""
        return f"{self.split}/{self.index}"


class FileTarget(Strict):
    """A target that is a sample of `targets.tar`; its `adversarial_label` is None where it is the trial's."""

    kind: Literal["file"] = "file"
    key: Annotated[str, StringConstraints(pattern=r"^[0-9]{5}-[0-9]{8}$")]
    label: Label
    adversarial_label: Label | None = None
    pixels: Sha256

    @property
    def image_id(self) -> str:
        """`file/KEY`; a trigger's random place is drawn from it."""
        return f"file/{self.key}"


Target: TypeAlias = Annotated[SplitTarget | FileTarget, Field(discriminator="kind")]


class InPlace(Strict):
    """Each poison takes the row of its base."""

    rule: Literal["in-place"] = "in-place"


class Add(Strict):
    """The poisons are added to the whole training split."""

    rule: Literal["add"] = "add"


class Supplant(Strict):
    """The poisons are added and the `removed` training images are taken out."""

    rule: Literal["supplant"] = "supplant"
    removed: tuple[Index, ...]


Composition: TypeAlias = Annotated[InPlace | Add | Supplant, Field(discriminator="rule")]

ListName: TypeAlias = Literal["poison-train", "poison-val", "clean-train", "clean-val", "adversarial-test"]


class Slots(Strict):
    """The poisons of a trial by slot: the index of each one's base in the train split (None: unknown) and its label.

    The slots in `cover` hold no poisons: their base under its own label, at most with the trigger on.
    """

    bases: tuple[Index | None, ...]
    labels: tuple[Label, ...]
    cover: tuple[Index, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Slots:
        if len(self.bases) != len(self.labels):
            raise ValueError(f"{len(self.bases)} bases but {len(self.labels)} labels")
        if not 1 <= len(self.bases) <= limits.SLOTS_PER_TRIAL:
            raise ValueError(f"{len(self.bases)} slots, wanted 1 to {limits.SLOTS_PER_TRIAL}")
        if list(self.cover) != sorted({slot for slot in self.cover if slot < len(self.bases)}):
            raise ValueError(f"cover does not list distinct ones of the {len(self.bases)} slots in ascending order")
        return self


class Outcome(Strict):
    """The result of crafting: poisons that differ from their base, the objective over time, halvings for memory."""

    moved: Index
    objective: tuple[Decimal, ...] = ()
    halvings: Annotated[int, Field(ge=0, le=limits.HALVINGS)] = 0


class Trial(Strict):
    """One independent attack: the unit of seed, resume and failure."""

    trial: Annotated[int, Field(ge=0, le=limits.LAST_TRIAL)]
    targets: Annotated[tuple[Target, ...], Field(max_length=limits.TARGETS_PER_TRIAL)] = ()
    source_classes: tuple[Label, ...] = ()
    adversarial_label: Label
    labels: Literal["clean", "adversarial"]
    constraint: Constraint
    composition: Composition
    trigger: Name | None = None
    test_trigger: Name | None = None
    slots: Slots
    pixels: Sha256
    lists: dict[ListName, tuple[Index, ...]] = {}
    outcome: Outcome | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Trial:
        if not self.targets and not self.source_classes:
            raise ValueError("a trial has neither a target nor a source class")
        # Each meaning has one spelling: null already says "the trial's" and "the same at test time".
        if any(target.adversarial_label == self.adversarial_label for target in self.targets):
            raise ValueError(f"a target repeats the trial's adversarial label {self.adversarial_label}; null says so")
        if self.test_trigger is not None and self.trigger in (None, self.test_trigger):
            raise ValueError("test_trigger is not another trigger beside the trial's own")
        return self
