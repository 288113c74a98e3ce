"""Every attack of ours keeps the laws of `poisonsets check-attack`, and each law finds an attack that breaks it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import pytest
import torch

from poisonsets import attacks
from poisonsets.budget import project
from poisonsets.experiments.laws.check import laws
from poisonsets.experiments.laws.law import BrokenLaw, judge
from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import RegisteredAttack, Traits
from poisonsets.settings import Range

LAWS = laws()
BOUND = [
    pytest.param(entry, one.check, id=f"{entry.name}, {name}")
    for entry in attacks.attacks().values()
    for name, one in LAWS.items()
    if one.binds(entry.traits)
]
ALTERNATIVES = (
    ("seed matters", "seed does not matter"),
    ("target matters", "target does not matter"),
    ("objective falls", "no history"),
)


@pytest.mark.parametrize(("entry", "check"), BOUND)
def test_every_attack_of_ours_keeps_the_laws(
    entry: RegisteredAttack, check: Callable[[RegisteredAttack], None]
) -> None:
    check(entry)


def test_no_traits_lie_between_two_laws() -> None:
    flags = (False, True)
    for objective, randomised, targeted in itertools.product(("none", "feature", "gradient"), flags, flags):
        traits = Traits(objective=objective, randomised=randomised, targeted=targeted)
        for one, other in ALTERNATIVES:
            assert LAWS[one].binds(traits) != LAWS[other].binds(traits)
        assert sum(law.binds(traits) for law in LAWS.values()) >= 10


def an_attack(craft: Attack, traits: Traits, doc: str = "") -> RegisteredAttack:
    def factory(*, share: Annotated[float, Range(0, 1)] = 0.5) -> Attack:
        return craft

    factory.__doc__ = doc or (
        "Raise every value of each base.\n\nWhat differs from a paper: there is none.\n\n"
        "Args:\n    share: of the range."
    )
    return RegisteredAttack("theirs", (), 1, traits, "none: a test", factory)


def moved(task: Task, amount: Any = 0.5) -> torch.Tensor:
    return project(task.bases + amount, task.bases, task.budget)


def by_seed(task: Task, context: Context) -> Crafted:
    drawn = [torch.rand(task.bases.shape[1:], generator=one) for one in context.generators]
    return Crafted(moved(task, torch.stack(drawn)))


def global_noise(task: Task, context: Context) -> Crafted:
    return Crafted(moved(task, torch.rand_like(task.bases)))


def in_place(task: Task, context: Context) -> Crafted:
    task.bases.mul_(0.5)
    return Crafted(task.bases)


def weights_trained(task: Task, context: Context) -> Crafted:
    for net in context.surrogates:
        for one in net.weights.values():
            one.data.mul_(1.5)
    return Crafted(moved(task))


def first_of_block(task: Task, context: Context) -> Crafted:
    return Crafted(moved(task, task.bases[:1].mean() * torch.ones_like(task.bases) - 0.5 + task.bases[:1] * 0.1))


PLAIN = Traits(targeted=False)
BREAKS: dict[str, tuple[Attack, Traits]] = {
    "images": (lambda task, context: Crafted(task.bases * float("nan")), PLAIN),
    "budget": (lambda task, context: Crafted(1 - task.bases), PLAIN),
    "networks untouched": (weights_trained, PLAIN),
    "global random states untouched": (global_noise, PLAIN),
    "same seed, same bytes": (global_noise, PLAIN),
    "zero budget": (lambda task, context: Crafted(1 - task.bases), PLAIN),
    "seed matters": (lambda task, context: Crafted(moved(task)), replace(PLAIN, randomised=True)),
    "seed does not matter": (by_seed, PLAIN),
    "target matters": (lambda task, context: Crafted(moved(task)), Traits()),
    "target does not matter": (lambda task, context: Crafted(moved(task, task.targets - task.bases)), PLAIN),
    "source images matter": (
        lambda task, context: Crafted(moved(task)),
        replace(PLAIN, needs=frozenset({"source images"})),
    ),
    "trigger matters": (lambda task, context: Crafted(moved(task)), replace(PLAIN, needs=frozenset({"trigger"}))),
    "objective falls": (
        lambda task, context: Crafted(moved(task), ((1.0, 0.95),) * len(task.bases)),
        replace(PLAIN, objective="feature", needs=frozenset({"features"})),
    ),
    "no history": (lambda task, context: Crafted(moved(task), ((1.0, 0.5),) * len(task.bases)), PLAIN),
    "leaves images": (lambda task, context: Crafted(moved(task)), replace(PLAIN, perturbs=False)),
    "selects": (
        lambda task, context: Crafted(moved(task), (), torch.zeros(len(task.bases), task.keep, dtype=torch.int64)),
        replace(PLAIN, selects=True),
    ),
    "needs no network": (lambda task, context: Crafted(moved(task, len(context.surrogates) / 100)), PLAIN),
    "trials apart": (first_of_block, PLAIN),
    "traits": (lambda task, context: Crafted(task.bases), replace(PLAIN, perturbs=False)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_law_is_broken_by_an_attack_that_does_what_it_forbids(name: str) -> None:
    (verdict,) = judge(an_attack(*BREAKS[name]), [LAWS[name]])
    assert verdict.state == "broken", verdict
    assert verdict.seen
    assert "raised" not in verdict.seen
    assert verdict.wanted


@pytest.mark.parametrize("name", ["docstring", "settings"])
def test_an_attack_without_words_breaks_the_laws_of_documents(name: str) -> None:
    (verdict,) = judge(an_attack(BREAKS["no history"][0], PLAIN, "It."), [LAWS[name]])
    assert verdict.state == "broken"


def test_inputs_that_are_written_into_break_a_law() -> None:
    with pytest.raises(BrokenLaw, match=r"wrote into task.bases; wanted .* work on a copy"):
        LAWS["images"].check(an_attack(in_place, PLAIN))


def test_every_law_has_an_attack_that_breaks_it() -> None:
    harmless = {"defaults"}  # a default that its type cannot spell is refused when the attack is registered
    assert {*BREAKS, "docstring", "settings"} == set(LAWS) - harmless


def test_an_exception_breaks_the_law_and_names_the_line() -> None:
    def raises(task: Task, context: Context) -> Crafted:
        raise ZeroDivisionError("their mistake")

    (verdict,) = judge(an_attack(raises, PLAIN), [LAWS["images"]])
    assert verdict.state == "broken"
    assert "ZeroDivisionError: their mistake (" in verdict.seen
    assert "test_attack_laws.py:" in verdict.seen
