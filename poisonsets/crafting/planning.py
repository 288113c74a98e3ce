"""Turn what a user asks for into a craft request: its setup, trials and budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from poisonsets import attacks, triggers
from poisonsets.crafting.request import CraftRequest
from poisonsets.interface import Budget
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.origin import DrawnSetup, NamedSetup, SetupRecord
from poisonsets.manifests.records.trial import Linf, Unconstrained
from poisonsets.manifests.trials.drawn import draw
from poisonsets.manifests.trials.plan import CompositionRule, Plan
from poisonsets.manifests.trials.published import open_setup, plan_trial, trials_of
from poisonsets.registry import RegisteredAttack, Traits
from poisonsets.surrogates import Precision, Surrogates

POISONS = 25
TRIALS = 10
EPSILON = 8


@dataclass(frozen=True)
class Draw:
    """Options of drawn trials; None takes the default.

    Attributes:
        poisons: per trial; 25 if neither this nor `rate` is given.
        rate: poisons as a share "a/b" of the adversarial class's training images.
        candidates: per trial; the attack keeps `poisons` of them.
        targets: images of one class per trial.
        class_pair: (adversarial label, target class).
        source_classes: classes that targets are drawn from and a backdoor's trigger acts on.
    """

    poisons: int | None = None
    rate: str | None = None
    candidates: int | None = None
    targets: int | None = None
    class_pair: tuple[int, int] | None = None
    source_classes: tuple[int, ...] | None = None


def craft_request(
    attack: str | RegisteredAttack,
    base: Base,
    *,
    name: str = "",
    settings: Mapping[str, str] = {},
    setup: str | None = None,
    trials: Sequence[int] | None = None,
    epsilon: int | None = EPSILON,
    composition: CompositionRule | None = None,
    surrogates: Surrogates = Surrogates(),
    trigger: str | None = None,
    seed: int = 0,
    precision: Precision = "fp32",
    asked: Draw = Draw(),
) -> CraftRequest:
    """Build a craft request from what a user types.

    Args:
        attack: the attack, or its name or alias.
        base: the dataset.
        name: the set's name; defaults to the attack's.
        settings: the attack's, as typed; the others keep their defaults.
        setup, trials: as for `plan_trials`.
        epsilon: the l-infinity radius in levels of 255; None for no constraint.
        composition: how the poisons enter the training set; None takes the attack's default.
        surrogates: the attacker's networks.
        trigger: a backdoor's, `KIND[,key=value...]`; None takes the attack's default.
        seed: of drawn trials and of the attack's randomness.
        precision: of the surrogates' passes, and of their retraining inside an attack.
        asked: options of drawn trials.

    Raises:
        UsageError: an unknown attack, setting or trigger, or as for `plan_trials`.
    """
    entry = attacks.find(attack) if isinstance(attack, str) else attack
    resolved = entry.settings(settings)
    rule = composition or entry.traits.composition
    record, plans = plan_trials(base, entry, setup=setup, trials=trials, seed=seed, asked=asked, composition=rule)
    wanted = trigger or (entry.traits.trigger if "trigger" in entry.traits.needs else None)
    return CraftRequest(
        name=name or entry.name,
        attack=entry,
        settings=resolved,
        budget=budget_of(entry, resolved, epsilon),
        composition=rule,
        base=base,
        setup=record,
        plans=plans,
        surrogates=surrogates,
        seed=seed,
        trigger=None if wanted is None else triggers.resolve(wanted, base, seed=seed),
        precision=precision,
    )


def plan_trials(
    base: Base,
    entry: RegisteredAttack,
    *,
    setup: str | None,
    trials: Sequence[int] | None,
    seed: int,
    asked: Draw,
    composition: CompositionRule,
) -> tuple[SetupRecord, tuple[Plan, ...]]:
    """The setup's record and its trials.

    Args:
        base: the dataset.
        entry: the attack, whose traits decide which images become poisons and whether it is a backdoor.
        setup: the name of a published setup, or a file; None draws the trials.
        trials: their numbers; None takes all of a setup, or 0-9 if drawn.
        seed: of drawn trials.
        asked: options of drawn trials.
        composition: `supplant` needs drawn trials.

    Raises:
        UsageError: options that exclude one another, a setup that does not suit the attack, or a trial that the setup
            or the base does not have.
    """
    if setup is None:
        record = drawn_setup(base, entry.traits, seed=seed, asked=asked, composition=composition)
        return record, tuple(draw(base, record, number) for number in trials or range(TRIALS))
    if asked != Draw():
        raise UsageError(
            "--setup fixes the trials",
            "Leave out --poisons, --rate, --candidates, --targets, --class-pair, --source-classes",
        )
    if entry.traits.labels == "adversarial":
        raise UsageError(
            f"{entry.name} changes labels, so it cannot use the bases that a setup names", "Leave out --setup"
        )
    if composition == "supplant":
        raise UsageError("a published setup names no images to supplant", "Add --composition in-place or add")
    backdoor = "trigger" in entry.traits.needs
    found = open_setup(setup)
    if isinstance(found, NamedSetup):
        named = NamedSetup(name=setup, backdoor=backdoor)
        return named, tuple(plan_trial(named, base, n) for n in trials or range(trials_of(setup)))
    numbers = range(len(found.entries)) if trials is None else trials
    return found.record, tuple(found.plan(base, number, backdoor=backdoor) for number in numbers)


def drawn_setup(base: Base, traits: Traits, *, seed: int, asked: Draw, composition: CompositionRule) -> DrawnSetup:
    """The record of trials to draw for an attack with these traits.

    Raises UsageError for both a number of poisons and a rate, or values that no setup accepts.
    """
    if asked.poisons and asked.rate:
        raise UsageError("--poisons and --rate exclude each other", "Give one of them")
    backdoor = "trigger" in traits.needs
    sources = asked.source_classes
    if sources is None:
        sources = base.victim_classes if backdoor and traits.source_classes == "all" and not asked.class_pair else ()
    try:
        return DrawnSetup(
            seed=seed,
            poisons=None if asked.rate else asked.poisons or POISONS,
            rate=asked.rate,
            candidates=asked.candidates,
            targets=asked.targets or 1,
            class_pair=asked.class_pair,
            source_classes=sources,
            backdoor=backdoor,
            bases_from="source" if traits.labels == "adversarial" else "adversarial",
            supplant=composition == "supplant",
        )
    except ValidationError as error:
        fault = error.errors()[0]
        option = "".join(f"--{part}: " for part in fault["loc"][:1])
        raise UsageError(
            option + fault["msg"].removeprefix("Value error, "), "See `poisonsets craft --help`"
        ) from error


def budget_of(entry: RegisteredAttack, settings: Mapping[str, Any], levels: int | None) -> Budget:
    """The constraint of an attack's poisons: an l-infinity radius in levels of 255, or none.

    An unconstrained attack has none whatever is asked; a setting may exempt the trigger (`Traits.exempting`).
    """
    if levels is None or not entry.traits.constrained:
        return Unconstrained()
    return Linf(levels=levels, exempt_trigger=entry.traits.leaves_out(settings))
