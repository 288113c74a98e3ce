"""Rows to words: the sentence that answers, and the numbers in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from poisonsets.experiments.audit.plan import AIMED, AuditPlan, PlannedSet, VictimKind
from poisonsets.experiments.audit.run import Measured
from poisonsets.victims.networks.shape import SHORT_NAMES
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.results.statistics import Interval
from poisonsets.victims.results.summary import Rate


@dataclass(frozen=True)
class Claim:
    """What the victims of one cell did.

    Attributes:
        poisons, images: poisons in a training set, and its images.
        levels: the largest change of a value, in levels of 255.
        victims: what was trained, in words that follow "made".
        successes, n: victims that called their photograph what the attacker wanted, of all.
        photographs: how many different photographs the n victims were asked for.
        interval: of successes / n, 95 %.
        control: the same of the clean control, successes and n.
    """

    poisons: int
    images: int
    levels: int
    victims: str
    successes: int
    n: int
    photographs: int
    interval: Interval
    control: tuple[int, int]


def result(measured: Sequence[Measured], poisoned: PlannedSet, kind: VictimKind = "known") -> Measured | None:
    """The result of one set and kind of victims, None where the plan had no such cell."""
    found = (one for one in measured if one.cell.poisoned == poisoned and one.cell.victims.kind == kind)
    return next(found, None)


def claim(measured: Measured) -> Claim:
    """What a cell of bounded poisons says, read off its rows.

    Raises:
        ValueError: it has no clean control, poisons without a bound, or trials of different sizes.
    """
    summary, levels = measured.summary, measured.cell.poisoned.epsilon
    if summary.control is None or levels is None:
        raise ValueError(f"{measured.cell.name}: no clean control, or no budget")
    ((poisons, images),) = summary.poisons
    (level,) = summary.threat_levels
    return Claim(
        poisons=poisons,
        images=images,
        levels=levels,
        victims=victims_in_words(measured.cell.victims.protocol, level),
        successes=summary.poisoned.successes,
        n=summary.poisoned.n,
        photographs=measured.photographs,
        interval=summary.poisoned.interval,
        control=(summary.control.successes, summary.control.n),
    )


def victims_in_words(protocol: Protocol, level: str) -> str:
    """What is trained, what the attacker knew of it, and on which views of the images."""
    knew = {
        "white-box": "that the attacker knew",
        "grey-box": "of a network that the attacker knew, with weights that the attacker did not know",
    }.get(level, "that the attacker did not know")
    frozen = protocol.training == "frozen"
    trained = "a linear model on frozen features" if frozen else "a network fine-tuned from weights"
    return f"{trained} {knew}, trained {views_in_words(protocol)},"


def views_in_words(protocol: Protocol) -> str:
    """How a protocol shows its images: `without augmentation`, or what is done to them."""
    if protocol.augment == "none":
        return "without augmentation"
    done = [f"shifted by up to {protocol.pad} pixels"] * bool(protocol.pad) + ["mirrored"] * protocol.flip
    return f"on images {' and '.join(done)} at random"


def sentence(found: Claim) -> str:
    """The answer: what was done, what came of it, with interval and clean control.

    Poisons are said to have made the model answer so only where no clean control does.
    """
    poisons = f"{found.poisons:,} of {found.images:,} images"
    changed = f"changed by at most {found.levels}/255"
    low, high = percent(found.interval.low), percent(found.interval.high)
    rate = f"{percent(found.successes / found.n)} % [{low}, {high}]"
    control = f"clean control {found.control[0]} of {found.control[1]}."
    if found.successes and not found.control[0]:
        return f"{poisons}, {changed}, made {found.victims} {_called(found, 'call')}, {rate}; {control}"
    return f"With {poisons} {changed}, {found.victims} {_called(found, 'called')}, {rate}; {control}"


def _called(found: Claim, verb: str) -> str:
    """What was called how, behind `call` or `called`; trials are told where photographs repeat."""
    wanted = "what the attacker wanted"
    if found.photographs < found.n:
        times = {0: "none of", found.n: "all"}.get(found.successes, f"{found.successes} of")
        different = f"({found.photographs} different photographs)"
        return f"{verb} a chosen photograph {wanted} in {times} {found.n} trials {different}"
    if found.n == 1:
        denied = "" if found.successes else "did not "
        return f"{denied}{verb if found.successes else 'call'} the one chosen photograph {wanted}"
    count = {0: f"none of {found.n}", found.n: f"all {found.n}"}.get(found.successes, f"{found.successes} of {found.n}")
    return f"{verb} {count} chosen photographs {wanted}"


def beside(found: Measured) -> str:
    """The same poisons against other victims, in one line to stand beside the sentence."""
    network, protocol = called(found.cell.victims.extractor.network.spec.name), found.cell.victims.protocol
    who = {
        "unknown": f"On features of {network}, which the attacker did not know",
        "augmented": f"Trained {views_in_words(protocol)}",
        "finetuned": "Fine-tuned whole, from weights that the attacker knew",
        "known": "On the attacker's own features",
    }[found.cell.victims.kind]
    return f"{who}: {rate_in_words(found.summary.poisoned)}; clean control {control_in_words(found)}."


def rate_in_words(rate: Rate) -> str:
    """`17 of 20, 85.0 % [64.0, 94.8]`."""
    share = percent(rate.successes / rate.n)
    return f"{rate.successes:,} of {rate.n:,}, {share} % [{percent(rate.interval.low)}, {percent(rate.interval.high)}]"


def control_in_words(found: Measured) -> str:
    """`0 of 20`, with the number of controls where trials share them, or `none` where a base is unknown."""
    control, trained = found.summary.control, found.summary.distinct_controls
    if control is None:
        return "none"
    shared = f" ({trained} control{'' if trained == 1 else 's'})" if trained < control.n else ""
    return f"{control.successes} of {control.n}{shared}"


def called(network: str) -> str:
    """A network's short name where it has one."""
    return next((short for short, full in SHORT_NAMES.items() if full == network), network)


def percent(share: float) -> str:
    """A share as a percentage with one decimal, without the sign."""
    return f"{100 * share:.1f}"


def headline(plan: AuditPlan, measured: Sequence[Measured]) -> Measured:
    """The result that the page's first sentence states."""
    found = result(measured, plan.headline)
    if found is None:
        raise ValueError(f"{AIMED}: the plan has no headline")
    return found
