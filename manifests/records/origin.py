"""The origin of a set: the setup of its trials, the attack, its surrogates and plugins."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from poisonsets.manifests import limits
from poisonsets.manifests.records.fields import Index, Label, Name, Sha256, Strict, Text


class DrawnSetup(Strict):
    """Trials drawn from a seed (SPEC.md section 8); a verifier draws them again and compares."""

    kind: Literal["drawn"] = "drawn"
    seed: Index
    poisons: Annotated[int, Field(ge=1, le=limits.SLOTS_PER_TRIAL)] | None = None
    rate: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}/[1-9][0-9]{0,8}$")] | None = None
    candidates: Annotated[int, Field(ge=1, le=limits.SLOTS_PER_TRIAL)] | None = None
    targets: Annotated[int, Field(ge=1, le=limits.TARGETS_PER_TRIAL)] = 1
    class_pair: tuple[Label, Label] | None = None
    source_classes: tuple[Label, ...] = ()
    backdoor: bool = False
    bases_from: Literal["adversarial", "source"] = "adversarial"
    supplant: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> DrawnSetup:
        if (self.poisons is None) == (self.rate is None):
            raise ValueError("give either a number of poisons or a rate")
        if self.candidates is not None and (self.poisons is None or self.candidates < self.poisons):
            raise ValueError("candidates are drawn for a number of poisons, and at least as many")
        return self


class NamedSetup(Strict):
    """Published trials by name; a verifier computes them again and compares."""

    kind: Literal["named"] = "named"
    name: Name
    backdoor: bool = False


class FileSetup(Strict):
    """Trials taken from a setup file, pinned by the sha256 of its bytes."""

    kind: Literal["file"] = "file"
    name: Text
    digest: Sha256


class ForeignSetup(Strict):
    """Trials of a set made elsewhere."""

    kind: Literal["foreign"] = "foreign"
    name: Text


SetupRecord: TypeAlias = Annotated[DrawnSetup | NamedSetup | FileSetup | ForeignSetup, Field(discriminator="kind")]

Setting: TypeAlias = bool | int | Text | None


Precision: TypeAlias = Literal["fp32", "tf32", "bf16"]
"""Of networks' passes: float32, float32 whose products a GPU rounds to TF32, or bfloat16 by autocast."""


class AttackRecord(Strict):
    """The attack, all of its settings, and what else decides the bytes it produces."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    settings: dict[Name, Setting]
    trigger_spec: Text | None = None
    precision: Precision = "fp32"
    block_pixels: Annotated[int, Field(ge=1, le=2**53)] | None = None


class SurrogateRecord(Strict):
    """A network that the attacker knew, by the digest of its weights."""

    digest: Sha256
    network: Name
    pretraining: dict[Name, Setting | tuple[Index, ...]]
    included: bool = False
    trials: tuple[Index, ...] | None = None


class PluginRecord(Strict):
    """A plugin of another package that the set was made with."""

    kind: Literal["attack", "trigger", "base", "format", "network", "protocol", "defence", "recipe", "check"]
    name: Name
    package: Name
    version: Text
