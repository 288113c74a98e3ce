"""An order: everything that decides what a poison set will hold, and what is refused before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from poisonsets import registry
from poisonsets.crafting import provenance
from poisonsets.crafting.blocks import BLOCK_PIXELS
from poisonsets.interface import Budget
from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.overlay.stamp import Trigger, picture_digest, stamp
from poisonsets.manifests.records.fields import Title, first_fault
from poisonsets.manifests.records.origin import AttackRecord, SetupRecord
from poisonsets.manifests.trials.plan import CompositionRule, Plan
from poisonsets.settings import recorded
from poisonsets.surrogates import Precision, Surrogates, Weights

TRIGGER = "trigger"


@dataclass(frozen=True)
class CraftRequest:
    """Everything that decides what a set will hold.

    Attributes:
        name: the set's name.
        attack: the registered attack.
        settings: all of its settings.
        budget: the constraint every poison meets.
        composition: how the poisons enter the training set; `supplant` takes each plan's `removed` images out.
        base: the base dataset.
        setup: where the trials come from.
        plans: the trials, ascending.
        surrogates: the attacker's networks.
        seed: of the attack's randomness.
        trigger: of a backdoor, with what it was resolved from.
        precision: of the surrogates' passes.
    """

    name: str
    attack: registry.Entry
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
        """The manifest's fields that are known before crafting."""
        stamps = {} if self.trigger is None else {TRIGGER: self.trigger[0]}
        pictures = {path: image for one in stamps.values() for path, image in one.pictures().items()}
        return {
            "name": self.name,
            "base": self.base.pin(),
            "setup": self.setup,
            "seed": self.seed,
            "attack": self._attack_record(),
            "surrogates": self.surrogates.records((plan.trial for plan in self.plans), self.seed),
            "triggers": {name: one.record for name, one in stamps.items()},
            "trigger_pixels": {path: picture_digest(image) for path, image in pictures.items()},
            "tool": provenance.tool(),
            "libraries": provenance.libraries(),
        }

    def request(self, device: str) -> dict[str, Any]:
        """What an unfinished set must have been ordered with to be resumed: the above and the device, in JSON."""
        fields = {key: _plain(value) for key, value in self.head().items()}
        fields["budget"] = self.budget.model_dump(mode="json")
        fields["composition"] = self.composition
        fields["device"] = device
        fields["pool"] = self.surrogates.pool
        fields["trials"] = [plan.trial for plan in self.plans]
        return fields

    def _attack_record(self) -> AttackRecord:
        return AttackRecord(
            name=self.attack.name,
            version=self.attack.version,
            settings=recorded(self.settings),
            trigger=None if self.trigger is None else self.trigger[1],
            precision=self.precision,
            block_pixels=BLOCK_PIXELS if self.attack.traits.batched else None,
        )


def check(order: CraftRequest) -> None:
    """Refuse an order that cannot be carried out, before anything is written.

    Raises:
        UsageError: no trials, or not in ascending order; bases, labels or classes that do not suit the attack; a
            trigger that does not fit; a network that takes other images or knows other labels; a name or setting that
            a manifest cannot say.
        MissingError: the attack needs a network or a trigger that was not given.
    """
    order.attack.factory(**order.settings)  # settings that exclude one another are refused here
    _check_plans(order)
    _check_trigger(order)
    _check_networks(order)
    try:
        order.head()
        TypeAdapter(Title).validate_python(order.name, strict=True)
    except ValidationError as error:
        raise UsageError(f"no manifest can say this: {first_fault(error)}", "Change --name or the setting") from error


def _check_plans(order: CraftRequest) -> None:
    if not order.plans:
        raise UsageError("no trials to craft", "Give --trials, for instance 0-9")
    if len(order.plans) > limits.TRIALS:
        raise UsageError(f"{len(order.plans)} trials, a set holds at most {limits.TRIALS}", "Make several sets")
    numbers = [plan.trial for plan in order.plans]
    if numbers != sorted(set(numbers)):
        raise UsageError(f"trials {numbers[:20]} are not in ascending order, each once", "Sort them")
    traits = order.attack.traits
    for plan in order.plans:
        where = f"trial {plan.trial}: {order.attack.name}"
        labels = {int(order.base.train.labels[base]) for base in plan.bases}
        if traits.labels == "clean" and labels != {plan.adversarial_label}:
            raise UsageError(
                f"{where} keeps clean labels, but its bases are of classes {sorted(labels)} and the adversarial label "
                f"is {plan.adversarial_label}"
            )
        if traits.labels == "adversarial" and plan.adversarial_label in labels:
            raise UsageError(
                f"{where} changes labels, but a base is of the adversarial class {plan.adversarial_label} already",
                "Let it draw its trials (without --setup)",
            )
        if plan.keep < len(plan.bases) and not traits.selects:
            raise UsageError(f"{where} does not choose among candidates", "Leave out --candidates")
        if (plan.removed is None) == (order.composition == "supplant"):
            raise UsageError(f"{where} is composed by {order.composition}, but the trial says otherwise")


def _check_trigger(order: CraftRequest) -> None:
    wanted = TRIGGER in order.attack.traits.needs
    if order.trigger is None:
        if wanted:
            raise MissingError(f"{order.attack.name} needs a trigger", "Give --trigger, for instance --trigger patch")
        return
    if not wanted:
        raise UsageError(f"{order.attack.name} uses no trigger", "Leave out --trigger")
    trigger, spec = order.trigger
    try:
        stamp(order.base.train.images[0], trigger, "train/0")
    except UsageError as error:
        raise UsageError(f"--trigger {spec}: {error.message}", "Choose a smaller trigger or another place") from error
    if getattr(order.budget, "exempt_trigger", False) and trigger.record.kind != "patch":
        raise UsageError(
            f"--trigger {spec}: a trigger of kind {trigger.record.kind} cannot be exempt from the budget",
            f"Use a patch of full strength, or leave {order.attack.traits.exempting} on",
        )
    for plan in order.plans:
        if not plan.source_classes or plan.adversarial_label in plan.source_classes:
            raise UsageError(
                f"trial {plan.trial}: {order.attack.name} needs source classes without the adversarial label "
                f"{plan.adversarial_label}, found {list(plan.source_classes)}"
            )


def _check_networks(order: CraftRequest) -> None:
    needs = order.attack.traits.needs & {"features", "gradients", "robust"}
    if not needs:
        return
    if not order.surrogates.weights:
        raise MissingError(
            f"{order.attack.name} needs a surrogate network", "Give --surrogate FILE, made by `poisonsets train`"
        )
    first = order.surrogates.weights[0].record["classes"]
    for one in order.surrogates.weights:
        if one.side not in (None, order.base.train.side):
            raise UsageError(
                f"{one.path}: trained on images of {one.side} pixels, those of {order.base.name} have "
                f"{order.base.train.side}"
            )
        if needs - {"features"}:
            _check_classifier(order, one)
        if "robust" in needs and not one.record["pretraining"].get("adversary"):
            raise UsageError(
                f"{one.path}: not adversarially trained, which {order.attack.name} needs",
                "Train one: poisonsets train --adversarial ...",
            )
        if "robust" in needs and one.record["classes"] != first:
            raise UsageError(
                f"{one.path}: knows classes {_few(one.record['classes'])}, {order.surrogates.weights[0].path} knows "
                f"{_few(first)}: their outputs cannot be joined",
                "Give surrogates trained on the same classes",
            )


def _check_classifier(order: CraftRequest, one: Weights) -> None:
    """Refuse a network that cannot say what the attack asks it: another base's classes, or too few of this one's."""
    trained_on = one.record["provenance"].get("train")
    if trained_on not in (None, order.base.train.digest):
        raise UsageError(
            f"{one.path}: trained on another base, whose class numbers mean other things than those of "
            f"{order.base.name}",
            f"Train one: poisonsets train --base {order.base.name} ...",
        )
    asked = {plan.adversarial_label for plan in order.plans} | {c for plan in order.plans for c in plan.source_classes}
    asked |= {target.label for plan in order.plans for target in plan.targets}
    unknown = sorted(asked - set(one.record["classes"]))
    if unknown:
        raise UsageError(
            f"{one.path}: knows classes {_few(one.record['classes'])}, {order.attack.name} needs a classifier of "
            f"class {unknown[0]} too",
            f"Train one: poisonsets train --base {order.base.name} --classes {_few(order.base.victim_classes)} ...",
        )


def _few(labels: Iterable[int]) -> str:
    listed = list(labels)
    return ",".join(map(str, listed[:10])) + (",..." if len(listed) > 10 else "")


def _plain(value: Any) -> Any:
    """A manifest field as JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
