"""Registered attacks: one decorated factory per file of `poisonsets/attacks/`, or another package's entry point."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from poisonsets.interface import Attack
from poisonsets.manifests.plugins import clash
from poisonsets.settings import parse_settings

Factory: TypeAlias = Callable[..., Attack]
Need: TypeAlias = Literal["features", "gradients", "robust", "source images", "trigger", "training"]


@dataclass(frozen=True)
class Traits:
    """What an attack declares about itself; planning, refusals and the law tests follow from it.

    Attributes:
        labels: `clean`: bases are of the adversarial class and keep their labels. `adversarial`: bases are of the
            source classes (without a trigger: of the target's class) and get the adversarial label.
        objective: what it minimises, if anything.
        randomised: whether the seed changes the poisons.
        perturbs: whether poisons are perturbed bases, so that a zero budget returns the bases.
        constrained: whether poisons stay in the budget; if not, the set declares no constraint.
        targeted: whether the target changes the poisons.
        needs: what it requires. `features`: a network; `gradients`: a classifier of the victims' classes; `robust`: an
            adversarially trained one; `source images`: training images of the source classes; `training`: all
            training images, to retrain networks; `trigger`.
        batched: whether a block holds several trials in one tensor, or one.
        source_classes: a backdoor's default: the class of the `target`, or `all` but the adversarial.
        composition: how its poisons enter the training set by default.
        exempting: the boolean setting that exempts the trigger from the budget when off.
        trigger: a backdoor's default (docs/triggers.md).
        selects: whether it keeps the best of more candidates than poisons.
    """

    labels: Literal["clean", "adversarial"] = "clean"
    objective: Literal["feature", "gradient", "none"] = "none"
    randomised: bool = False
    perturbs: bool = True
    constrained: bool = True
    targeted: bool = True
    needs: frozenset[Need] = frozenset()
    batched: bool = True
    source_classes: Literal["target", "all"] = "target"
    composition: Literal["in-place", "add", "supplant"] = "in-place"
    exempting: str = ""
    trigger: str = "patch"
    selects: bool = False

    @property
    def reads_training(self) -> bool:
        """Whether it reads the base's training images."""
        return bool(self.needs & {"source images", "training"})

    def leaves_out(self, settings: Mapping[str, Any]) -> bool:
        """Whether the trigger is stamped outside the budget, by these settings or because there is no budget."""
        return not self.constrained or (bool(self.exempting) and not settings[self.exempting])

    @property
    def threat_model(self) -> str:
        """The threat model in words: labels, trigger, and the attacker's knowledge."""
        labels = "clean labels" if self.labels == "clean" else "changed labels"
        kind = "backdoor" if "trigger" in self.needs else "triggerless"
        knows = {
            "features": "a network's features",
            "gradients": "a classifier of the victims' classes",
            "robust": "a robust classifier of the victims' classes",
            "source images": "training images of the source classes",
            "training": "the training set",
        }
        known = [words for need, words in knows.items() if need in self.needs]
        return f"{kind}, {labels}; knows {', '.join(known) or 'no network'}"


@dataclass(frozen=True)
class RegisteredAttack:
    """A registered attack.

    Attributes:
        name: full name; `aliases` are the papers' abbreviations.
        version: raised whenever the same settings produce different poisons.
        source: the papers.
        factory: takes keyword-only settings and returns the attack.
    """

    name: str
    aliases: tuple[str, ...]
    version: int
    traits: Traits
    source: str
    factory: Factory

    def settings(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Every setting with its given or default value. Raises as `parse_settings`."""
        return parse_settings(self.name, self.factory, given)

    def defaults(self) -> dict[str, Any]:
        """Every setting with its default value."""
        return self.settings({})


_attacks: dict[str, RegisteredAttack] = {}


def registered() -> dict[str, RegisteredAttack]:
    """The attacks whose modules have been loaded, by full name."""
    return dict(_attacks)


def attack(
    name: str, *, version: int, traits: Traits, source: str, aliases: tuple[str, ...] = ()
) -> Callable[[Factory], Factory]:
    """Register a factory as an attack. Its keyword-only arguments with defaults are the attack's settings.

    Raises UsageError if another attack has one of these names, ignoring case.
    """

    def register(factory: Factory) -> Factory:
        wanted = {spelling.lower() for spelling in (name, *aliases)}
        for other in _attacks.values():
            taken = wanted & {spelling.lower() for spelling in (other.name, *other.aliases)}
            if taken and other.factory is not factory:
                one, two = f"{name} of {factory.__module__}", f"{other.name} of {other.factory.__module__}"
                raise clash("attacks", min(taken), one, two)
        _attacks[name] = RegisteredAttack(name, aliases, version, traits, source, factory)
        return factory

    return register
