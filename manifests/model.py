"""The typed model of `manifest.json`, format `poisonset/1` (SPEC.md is its normative text).

Every value is strict, frozen and closed: unknown fields, floats, booleans in the place of integers and integers in
the place of strings are refused. Numbers are integers or decimal strings.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from poisonsets.manifests import limits
from poisonsets.manifests.consistency import contradiction
from poisonsets.manifests.fields import Decimal, FilePath, Index, Label, Name, Sha256, Split, Strict, Text, Title
from poisonsets.manifests.triggers import TriggerRecord

FORMAT = "poisonset/1"
NOTICE = "Poisoned data for research on defences. Never train a model that people rely on with it."

# --- the base dataset ------------------------------------------------------------------------------------------


class SplitPin(Strict):
    """One split of the base, pinned by the digest of its decoded pixels and labels (SPEC.md section 3)."""

    digest: Sha256
    images: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1, le=limits.IMAGE_SIDE)]
    width: Annotated[int, Field(ge=1, le=limits.IMAGE_SIDE)]


class BasePin(Strict):
    """The base dataset that the poisons were made from and the victims train on."""

    name: Name
    classes: Annotated[tuple[Text, ...], Field(min_length=1, max_length=limits.CLASSES)]
    poison_classes: Annotated[tuple[Label, ...], Field(min_length=1, max_length=limits.CLASSES)]
    splits: dict[Split, SplitPin]

    @model_validator(mode="after")
    def _whole(self) -> BasePin:
        if len(set(self.poison_classes)) != len(self.poison_classes) or max(self.poison_classes) >= len(self.classes):
            raise ValueError(f"poison_classes does not name different ones of the {len(self.classes)} classes")
        if set(self.splits) != {"train", "test"}:
            raise ValueError("splits does not pin exactly train and test")
        if len({(split.height, split.width) for split in self.splits.values()}) != 1:
            raise ValueError("the splits have images of different sizes")
        return self


# --- what may change in an image -------------------------------------------------------------------------------


class Linf(Strict):
    """Every channel value within `levels` of its base's (8 means 8/255)."""

    norm: Literal["linf"] = "linf"
    levels: Annotated[int, Field(ge=1, le=255)]
    exempt_trigger: bool = False


class L2(Strict):
    """The sum of squared level differences of an image at most `squared_levels`."""

    norm: Literal["l2"] = "l2"
    squared_levels: Annotated[int, Field(ge=1, le=255**2 * 3 * limits.IMAGE_SIDE**2)]
    exempt_trigger: bool = False


class Unconstrained(Strict):
    """Any pixels."""

    norm: Literal["none"] = "none"


Constraint: TypeAlias = Annotated[Linf | L2 | Unconstrained, Field(discriminator="norm")]


# --- trials ----------------------------------------------------------------------------------------------------


class SplitTarget(Strict):
    """A target that is an image of a pinned split."""

    source: Literal["split"] = "split"
    split: Split
    index: Index
    label: Label


class FileTarget(Strict):
    """A target that is an image of `targets.tar`, sample `key`."""

    source: Literal["file"] = "file"
    key: Annotated[str, StringConstraints(pattern=r"^[0-9]{5}-[0-9]{8}$")]
    label: Label
    pixels: Sha256


Target: TypeAlias = Annotated[SplitTarget | FileTarget, Field(discriminator="source")]


class InPlace(Strict):
    """Each poison takes the row of its base."""

    rule: Literal["in-place"] = "in-place"


class Add(Strict):
    """The poisons are added to the whole training split."""

    rule: Literal["add"] = "add"


class Supplant(Strict):
    """The poisons are added and the named training images are taken out."""

    rule: Literal["supplant"] = "supplant"
    removed: tuple[Index, ...]


Composition: TypeAlias = Annotated[InPlace | Add | Supplant, Field(discriminator="rule")]

ListName: TypeAlias = Literal["poison-train", "poison-val", "clean-train", "clean-val", "adversarial-test"]


class Slots(Strict):
    """The poisons of a trial in slot order: the training image each was made from (None: unknown), and its label."""

    bases: tuple[Index | None, ...]
    labels: tuple[Label, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Slots:
        if len(self.bases) != len(self.labels):
            raise ValueError(f"{len(self.bases)} bases but {len(self.labels)} labels")
        if not 1 <= len(self.bases) <= limits.SLOTS_PER_TRIAL:
            raise ValueError(f"{len(self.bases)} slots, wanted 1 to {limits.SLOTS_PER_TRIAL}")
        return self


class Outcome(Strict):
    """What crafting the trial came to: poisons that differ from their base, the objective over time, lost memory."""

    moved: Index
    objective: tuple[Decimal, ...] = ()
    halvings: Annotated[int, Field(ge=0, le=limits.HALVINGS)] = 0


class Trial(Strict):
    """One independent attack: the unit of seed, resume and failure."""

    trial: Annotated[int, Field(ge=0, lt=100_000)]
    targets: Annotated[tuple[Target, ...], Field(max_length=limits.TARGETS_PER_TRIAL)] = ()
    source_classes: tuple[Label, ...] = ()
    adversarial_label: Label
    labels: Literal["clean", "adversarial"]
    constraint: Constraint
    composition: Composition
    trigger: Name | None = None
    slots: Slots
    pixels: Sha256
    lists: dict[ListName, tuple[Index, ...]] = {}
    outcome: Outcome | None = None

    @model_validator(mode="after")
    def _has_a_victim(self) -> Trial:
        if not self.targets and not self.source_classes:
            raise ValueError("a trial has neither a target nor a source class")
        return self


# --- how the set came about ------------------------------------------------------------------------------------


class DrawnSetup(Strict):
    """Trials drawn from a seed by `setups/drawn.py`: a verifier draws them again and compares."""

    kind: Literal["drawn"] = "drawn"
    seed: Index
    poisons: Annotated[int, Field(ge=1, le=limits.SLOTS_PER_TRIAL)] | None = None
    rate: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}/[1-9][0-9]{0,8}$")] | None = None
    candidates: Annotated[int, Field(ge=1, le=limits.SLOTS_PER_TRIAL)] | None = None
    targets: Annotated[int, Field(ge=1, le=limits.TARGETS_PER_TRIAL)] = 1
    class_pair: tuple[Label, Label] | None = None
    source_classes: tuple[Label, ...] = ()
    backdoor: bool = False
    bases: Literal["adversarial", "source"] = "adversarial"
    supplant: bool = False

    @model_validator(mode="after")
    def _one_size(self) -> DrawnSetup:
        if (self.poisons is None) == (self.rate is None):
            raise ValueError("give either a number of poisons or a rate")
        if self.candidates is not None and (self.poisons is None or self.candidates < self.poisons):
            raise ValueError("candidates are drawn for a number of poisons, and at least as many")
        return self


class NamedSetup(Strict):
    """Published trials that can be computed, by name; a verifier computes them again and compares."""

    kind: Literal["named"] = "named"
    name: Name
    backdoor: bool = False


class FileSetup(Strict):
    """Trials taken from a setup file, named by the digest of its contents."""

    kind: Literal["file"] = "file"
    name: Text
    digest: Sha256


class ForeignSetup(Strict):
    """Trials of a set made elsewhere."""

    kind: Literal["foreign"] = "foreign"
    name: Text


SetupRecord: TypeAlias = Annotated[DrawnSetup | NamedSetup | FileSetup | ForeignSetup, Field(discriminator="kind")]
Setting: TypeAlias = bool | int | Text | None


class AttackRecord(Strict):
    """The attack, every setting it ran with, and what else decides the bytes it gives."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    settings: dict[Name, Setting]
    trigger: Text | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    block_pixels: Annotated[int, Field(ge=1, le=2**53)] | None = None


class SurrogateRecord(Strict):
    """A network the attacker knew, by the digest of its weights."""

    digest: Sha256
    network: Name
    recipe: dict[Name, Setting | tuple[Index, ...]]
    included: bool = False
    trials: tuple[Index, ...] | None = None


class FileRecord(Strict):
    """One file of the set."""

    path: FilePath
    bytes: Annotated[int, Field(ge=0, le=limits.FILE_BYTES)]
    sha256: Sha256


class Tool(Strict):
    """The program that wrote the set."""

    name: Name
    version: Name
    commit: Name | None = None


class Manifest(Strict):
    """The whole of `manifest.json`."""

    format: Literal["poisonset/1"] = "poisonset/1"
    notice: Text = NOTICE
    name: Title
    content_digest: Sha256
    checksum: Sha256
    base: BasePin
    setup: SetupRecord
    seed: Index
    attack: AttackRecord
    surrogates: tuple[SurrogateRecord, ...] = ()
    triggers: dict[Name, TriggerRecord] = {}
    trigger_pixels: dict[FilePath, Sha256] = {}
    trials: Annotated[tuple[Trial, ...], Field(min_length=1, max_length=limits.TRIALS)]
    files: Annotated[tuple[FileRecord, ...], Field(max_length=limits.FILES)]
    unhashed: tuple[Literal["run.json"]] = ("run.json",)
    tool: Tool
    libraries: dict[Name, Text]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if (found := contradiction(self)) is not None:
            raise ValueError(found)
        return self
