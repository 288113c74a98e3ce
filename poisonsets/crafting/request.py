"""A craft request: everything that decides what a poison set will hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from poisonsets import attacks, registry, triggers
from poisonsets.crafting import provenance
from poisonsets.interface import Budget
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import image_digest
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.plugins import package_of
from poisonsets.manifests.records.origin import AttackRecord, PluginRecord, SetupRecord
from poisonsets.manifests.trials.plan import CompositionRule, Plan
from poisonsets.settings import record_settings
from poisonsets.surrogates import Precision, Surrogates

TRIGGER = "trigger"
BLOCK_PIXELS = 256 * 32 * 32  # of all poisons crafted together


@dataclass(frozen=True)
class CraftRequest:
    """Everything that decides what a set will hold.

    Attributes:
        name: the set's name.
        settings: all of the attack's settings.
        budget: the constraint on every poison.
        composition: how the poisons enter the training set; `supplant` removes each plan's `removed` images.
        setup: where the trials come from.
        plans: the trials, ascending.
        seed: of the attack's randomness.
        trigger: a backdoor's trigger and its resolved spec.
        precision: of the surrogates' passes, and of their retraining inside an attack.
    """

    name: str
    attack: registry.RegisteredAttack
    settings: Mapping[str, Any]
    budget: Budget
    composition: CompositionRule
    base: Base
    setup: SetupRecord
    plans: tuple[Plan, ...]
    surrogates: Surrogates
    seed: int
    trigger: tuple[Trigger, str] | None = None
    precision: Precision = "fp32"

    def head(self) -> dict[str, Any]:
        """The manifest fields known before crafting."""
        trigger = self.trigger and self.trigger[0]
        return {
            "name": self.name,
            "base": self.base.pin(),
            "setup": self.setup,
            "seed": self.seed,
            "attack": self._attack_record(),
            "plugins": self._plugin_records(),
            "surrogates": self.surrogates.records((plan.trial for plan in self.plans), self.seed),
            "triggers": {TRIGGER: trigger.record} if trigger else {},
            "trigger_pixels": {p: image_digest(image) for p, image in trigger.pictures().items()} if trigger else {},
            "tool": provenance.tool(),
            "libraries": provenance.libraries(),
        }

    def identity(self) -> dict[str, Any]:
        """The whole request as JSON; a run resumes only a set of an equal request."""
        return {
            **{key: _plain(value) for key, value in self.head().items()},
            "budget": self.budget.model_dump(mode="json"),
            "composition": self.composition,
            "pool": self.surrogates.pool,
            "trials": [plan.trial for plan in self.plans],
        }

    def for_workers(self) -> CraftRequest:
        """The request to send to worker processes, without base images that the attack never reads."""
        if self.attack.traits.reads_training:
            return self
        train, test = (replace(split, images=split.images[:0]) for split in (self.base.train, self.base.test))
        return replace(self, base=replace(self.base, train=train, test=test))

    def _plugin_records(self) -> tuple[PluginRecord, ...]:
        """The packages that provide the attack and the kind of trigger, unless it is this one."""
        found = []
        if package := package_of(self.attack.factory.__module__, attacks.GROUP):
            found.append(PluginRecord(kind="attack", name=self.attack.name, package=package[0], version=package[1]))
        if self.trigger is not None:
            kind = triggers.kinds().get(self.trigger[1].partition(",")[0])
            if kind is not None and (package := package_of(kind.factory.__module__, triggers.GROUP)):
                found.append(PluginRecord(kind="trigger", name=kind.name, package=package[0], version=package[1]))
        return tuple(found)

    def _attack_record(self) -> AttackRecord:
        return AttackRecord(
            name=self.attack.name,
            version=self.attack.version,
            settings=record_settings(self.settings),
            trigger_spec=None if self.trigger is None else self.trigger[1],
            precision=self.precision,
            block_pixels=BLOCK_PIXELS if self.attack.traits.batched else None,
        )


def _plain(value: Any) -> Any:
    """A manifest field as JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
