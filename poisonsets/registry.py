"""Registered attacks: one decorated factory per file of `poisonsets/attacks/`, or another package's entry point."""

import inspect
import re
import traceback
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

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


class DeclarationError(ValueError):
    """An attack is declared in a way that has no meaning; the message says what was found and what was wanted.

    No PoisonsetsError: a plugin with a wrong declaration is warned of and passed over like one that does not import.
    """


_attacks: dict[str, RegisteredAttack] = {}


def registered() -> dict[str, RegisteredAttack]:
    """The attacks whose modules have been loaded, by full name."""
    return dict(_attacks)


def attack(
    name: str, *, version: int, traits: Traits, source: str, aliases: tuple[str, ...] = ()
) -> Callable[[Factory], Factory]:
    """Register a factory as an attack. Its keyword-only arguments with defaults are the attack's settings.

    Raises:
        DeclarationError: the name, the version, the source, a trait or a setting has no meaning.
        UsageError: another attack has one of these names, ignoring case.
    """

    def register(factory: Factory) -> Factory:
        _refuse_misdeclared(RegisteredAttack(name, aliases, version, traits, source, factory))
        wanted = {spelling.lower() for spelling in (name, *aliases)}
        for other in _attacks.values():
            taken = wanted & {spelling.lower() for spelling in (other.name, *other.aliases)}
            if taken and other.factory is not factory:
                one, two = f"{name} of {factory.__module__}", f"{other.name} of {other.factory.__module__}"
                raise clash("attacks", min(taken), one, two)
        _attacks[name] = RegisteredAttack(name, aliases, version, traits, source, factory)
        return factory

    return register


def raised_at(error: BaseException, factory: Factory) -> str:
    """` (package/module.py:12)`, the innermost line of the attack's own package that an error passed; else ``."""
    top = factory.__module__.partition(".")[0]
    for frame in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame[0].f_globals.get("__name__", ""))
        if module.partition(".")[0] == top:
            folder = "/".join(module.split(".")[:-1])
            file = Path(frame[0].f_code.co_filename).name
            return f" ({folder}/{file}:{frame[1]})" if folder else f" ({file}:{frame[1]})"
    return ""


def _refuse_misdeclared(entry: RegisteredAttack) -> None:
    for name in (entry.name, *entry.aliases):
        if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)):
            raise DeclarationError(f"the attack's name is {name!r}, wanted letters, digits and dashes: my-attack")
    if type(entry.version) is not int or entry.version < 1:
        raise DeclarationError(f"{entry.name}: version={entry.version!r}, wanted a whole number from 1 on")
    if not (isinstance(entry.source, str) and entry.source):
        raise DeclarationError(f"{entry.name}: source={entry.source!r}, wanted the paper, or 'none: ...'")
    if not isinstance(entry.traits, Traits):
        raise DeclarationError(f"{entry.name}: traits={entry.traits!r}, wanted Traits(...)")
    hints = typing.get_type_hints(Traits)
    for trait, wanted in hints.items():
        _refuse_trait(entry.name, trait, getattr(entry.traits, trait), wanted)
    settings = _settings_of(entry)
    if entry.traits.exempting and settings.get(entry.traits.exempting) is not bool:
        raise DeclarationError(
            f"{entry.name}: exempting={entry.traits.exempting!r}, wanted one of its boolean settings"
        )


def _refuse_trait(name: str, trait: str, value: Any, wanted: Any) -> None:
    choices = typing.get_args(wanted) if typing.get_origin(wanted) is Literal else ()
    if trait == "needs":
        known = ", ".join(map(repr, typing.get_args(Need)))
        if not isinstance(value, frozenset):
            raise DeclarationError(f"{name}: needs={value!r}, wanted frozenset({{...}}) of {known}")
        if unknown := sorted(map(repr, value - set(typing.get_args(Need)))):
            raise DeclarationError(f"{name}: needs has {', '.join(unknown)}, wanted some of {known}")
    elif choices and value not in choices:
        raise DeclarationError(f"{name}: {trait}={value!r}, wanted {' or '.join(map(repr, choices))}")
    elif wanted in (bool, str) and type(value) is not wanted:
        raise DeclarationError(f"{name}: {trait}={value!r}, wanted {'True or False' if wanted is bool else 'text'}")


def _settings_of(entry: RegisteredAttack) -> dict[str, Any]:
    """The type of each setting. Raises DeclarationError for one that no text could be parsed to."""
    try:
        hints = typing.get_type_hints(entry.factory, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"{entry.name}: {error}, in the types of its settings; import it outside `if TYPE_CHECKING`"
        ) from error
    found = {}
    for key, parameter in inspect.signature(entry.factory).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise DeclarationError(f"{entry.name}: {key} is no setting; write `*, {key}: int = 1`, with a default")
        wanted = hints.get(key)
        if typing.get_origin(wanted) is Annotated:
            wanted = typing.get_args(wanted)[0]
        if wanted not in (int, float, bool, str) and typing.get_origin(wanted) is not Literal:
            raise DeclarationError(f"{entry.name}: {key} is of type {wanted}, wanted int, float, bool or a Literal")
        found[key] = wanted
    return found
