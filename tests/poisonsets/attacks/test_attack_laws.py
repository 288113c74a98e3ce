"""The laws every attack keeps, each where its declared traits imply it; a new file in attacks/ is held to them unasked.

The network is untrained and 4 channels wide: laws are about what an attack promises, not about whether it works.
"""

from __future__ import annotations

import inspect
import itertools
import random
import re
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from reference import meanings
from tiny_tasks import (
    BASES,
    EIGHT,
    NETWORKS,
    OTHER_SOURCES,
    OTHER_TRIGGER,
    OTHERS,
    POISONS,
    SIDE,
    TRIALS,
    craft,
    floats,
    levels,
    network,
)

from poisonsets import attacks
from poisonsets.interface import Budget
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
from poisonsets.registry import Need, RegisteredAttack, Traits
from poisonsets.settings import Range, record_settings

BUDGETS: tuple[Budget, ...] = (EIGHT, L2(squared_levels=20_000), Unconstrained())
NOTHING: tuple[Budget, ...] = (Linf.model_construct(levels=0), L2.model_construct(squared_levels=0))
OFFERED = set(typing.get_args(Need))  # what `craft` can give an attack that needs it
NETWORK_NEEDS = {"features", "gradients", "robust"}

# Which traits put an attack under which law. Laws of everybody have no condition.
LAWS: dict[str, Callable[[Traits], bool]] = {
    "everybody": lambda t: True,
    "zero budget": lambda t: t.perturbs,
    "seed matters": lambda t: t.randomised,
    "seed does not matter": lambda t: not t.randomised,
    "target matters": lambda t: t.targeted,
    "target does not matter": lambda t: not t.targeted,
    "objective falls": lambda t: t.objective != "none",
    "no history": lambda t: t.objective == "none",
    "trials apart": lambda t: t.batched,
    "needs no network": lambda t: not t.needs & NETWORK_NEEDS,
    "leaves images": lambda t: not t.perturbs,
    "source images matter": lambda t: "source images" in t.needs,
    "trigger matters": lambda t: "trigger" in t.needs and t.perturbs,
    "selects": lambda t: t.selects,
}
ALTERNATIVES = (
    ("seed matters", "seed does not matter"),
    ("target matters", "target does not matter"),
    ("objective falls", "no history"),
)


def bound(law: str = "everybody") -> pytest.MarkDecorator:
    """The test runs for every attack that a law binds."""
    entries = [entry for entry in attacks.attacks().values() if LAWS[law](entry.traits)]
    return pytest.mark.parametrize("entry", entries, ids=lambda entry: entry.name)


# Matching a weight gradient is a smoother task, and one that views and retraining change from step to step.
SMOOTH = (network(1, scale=4),)
STEADY = {"augment": "false", "retraining": "0", "inner_learning_rate": "0.1"}


@bound()
def test_the_traits_hold_it_to_the_laws(entry: RegisteredAttack) -> None:
    """An attack that neither perturbs nor minimises, or needs what no test gives it, would keep every law idly."""
    traits = entry.traits
    assert traits.perturbs or traits.objective != "none" or traits.labels == "adversarial"
    assert not (traits.objective != "none" and not traits.needs & NETWORK_NEEDS), "an objective of no network"
    assert traits.needs <= OFFERED, f"`craft` in tests/tiny_tasks.py must give attacks {sorted(traits.needs - OFFERED)}"
    assert traits.constrained or "trigger" in traits.needs, "nothing says what its poisons may be"
    assert not traits.exempting or type(entry.defaults()[traits.exempting]) is bool
    assert sum(holds(traits) for holds in LAWS.values()) >= 5


def test_no_traits_lie_between_two_laws() -> None:
    flags = (False, True)
    for objective, randomised, targeted in itertools.product(("none", "feature", "gradient"), flags, flags):
        traits = Traits(objective=objective, randomised=randomised, targeted=targeted)
        for one, other in ALTERNATIVES:
            assert LAWS[one](traits) != LAWS[other](traits)


@bound()
@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.norm)
def test_poisons_are_images_inside_the_budget(entry: RegisteredAttack, budget: Budget) -> None:
    crafted = craft(entry, budget=budget)
    images = crafted.images
    assert images.shape == (TRIALS, POISONS, 3, SIDE, SIDE)
    assert images.dtype == torch.float32
    assert bool(torch.isfinite(images).all())
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    moved = images.detach().double() - floats(BASES).double()
    delta = levels(crafted, budget).astype(np.int64) - BASES
    if isinstance(budget, Linf):
        assert float(moved.abs().max()) <= budget.levels / 255 + 1e-6
        assert np.abs(delta).max() <= budget.levels
    elif isinstance(budget, L2):
        assert float(moved.flatten(2).norm(dim=2).max()) <= budget.squared_levels**0.5 / 255 + 1e-6
        assert (delta**2).sum(axis=(2, 3, 4)).max() <= budget.squared_levels
    assert np.abs(delta).max() > 0 or not entry.traits.perturbs, "nothing was crafted"


@bound()
def test_networks_and_global_random_states_are_left_alone(entry: RegisteredAttack) -> None:
    probe = floats(BASES[0])
    before = [(net.features(probe), net.logits(probe), net.weights) for net in NETWORKS]
    before = [(f.clone(), o.clone(), {name: tensor.clone() for name, tensor in w.items()}) for f, o, w in before]
    states = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    craft(entry)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]
    for net, (features, logits, weights) in zip(NETWORKS, before, strict=True):
        assert torch.equal(net.features(probe), features)
        assert torch.equal(net.logits(probe), logits)
        assert all(torch.equal(tensor, weights[name]) for name, tensor in net.weights.items())
        assert not any(tensor.requires_grad or tensor.grad is not None for tensor in net.weights.values())


@bound()
def test_the_same_seed_gives_the_same_bytes(entry: RegisteredAttack) -> None:
    first = craft(entry)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)  # whatever the caller did with the global state
        again = craft(entry)
    assert first.images.detach().numpy().tobytes() == again.images.detach().numpy().tobytes()
    assert first.history == again.history


@bound("zero budget")
@pytest.mark.parametrize("budget", NOTHING, ids=lambda budget: budget.norm)
def test_a_zero_budget_returns_the_bases(entry: RegisteredAttack, budget: Budget) -> None:
    crafted = craft(entry, budget=budget)
    assert float((crafted.images.detach() - floats(BASES)).abs().max()) <= 1e-6
    assert np.array_equal(levels(crafted, Unconstrained()), BASES)


def bound_to_change(laws: Mapping[str, Mapping[str, Any]]) -> pytest.MarkDecorator:
    """The test runs for every attack and every law that binds it, with what the law changes."""
    cases = [
        pytest.param(entry, change, id=f"{entry.name}, {law}")
        for law, change in laws.items()
        for entry in attacks.attacks().values()
        if LAWS[law](entry.traits)
    ]
    return pytest.mark.parametrize(("entry", "change"), cases)


@bound_to_change(
    {
        "seed matters": {"seed": 1},
        "target matters": {"targets": OTHERS},
        "source images matter": {"sources": OTHER_SOURCES},
        "trigger matters": {"trigger": OTHER_TRIGGER},
    }
)
def test_what_matters_gives_other_poisons_in_every_trial(entry: RegisteredAttack, change: Mapping[str, Any]) -> None:
    one, other = levels(craft(entry)), levels(craft(entry, **change))
    assert all(not np.array_equal(one[trial], other[trial]) for trial in range(TRIALS))


@bound_to_change({"seed does not matter": {"seed": 1}, "target does not matter": {"targets": OTHERS}})
def test_what_does_not_matter_gives_the_same_poisons(entry: RegisteredAttack, change: Mapping[str, Any]) -> None:
    assert torch.equal(craft(entry).images, craft(entry, **change).images)


@bound("objective falls")
def test_the_objective_falls(entry: RegisteredAttack) -> None:
    if entry.traits.objective == "gradient":
        found = craft(entry, budget=Linf(levels=32), steps=30, networks=SMOOTH, settings=STEADY)
    else:
        found = craft(entry, budget=Linf(levels=32), steps=30)
    history = found.history
    assert len(history) == TRIALS
    for curve in history:
        assert np.isfinite(curve).all()
        assert curve[-1] < 0.9 * curve[0]


@bound("no history")
def test_without_an_objective_there_is_no_history(entry: RegisteredAttack) -> None:
    assert craft(entry).history == ()


@bound("leaves images")
def test_what_perturbs_nothing_returns_the_bases(entry: RegisteredAttack) -> None:
    assert torch.equal(craft(entry).images, floats(BASES))


@bound("selects")
def test_a_selection_keeps_as_many_as_asked_for(entry: RegisteredAttack) -> None:
    kept = craft(entry, keep=POISONS - 1).kept
    assert kept is not None
    assert kept.shape == (TRIALS, POISONS - 1)
    for slots in kept.tolist():
        assert slots == sorted(set(slots))
        assert set(slots) <= set(range(POISONS))


@bound("needs no network")
def test_what_needs_no_network_uses_none(entry: RegisteredAttack) -> None:
    assert torch.equal(craft(entry, networks=()).images, craft(entry).images)


@bound("trials apart")
def test_a_trial_does_not_depend_on_the_others_of_its_block(entry: RegisteredAttack) -> None:
    """But for rounding: convolutions add in another order in batches of another size."""
    together = levels(craft(entry)).astype(np.int64)
    for trial in range(TRIALS):
        alone = levels(craft(entry, trials=[trial]), trials=[trial]).astype(np.int64)
        apart = np.abs(together[trial] - alone[0])
        assert apart.max() <= 1
        assert (apart > 0).mean() <= 0.01


@bound()
def test_the_docstring_cites_its_paper_and_says_what_differs(entry: RegisteredAttack) -> None:
    doc = inspect.getdoc(entry.factory) or ""
    assert len(doc.splitlines()[0]) > 20
    assert re.search(r"what differs", doc, re.IGNORECASE)
    if entry.source.startswith("none"):
        assert "there is none" in doc
        return
    papers = re.findall(r"([A-Z][\w-]+)[^;0-9]*([0-9]{4})", entry.source)
    assert papers, f"no author and year in {entry.source!r}"
    assert any(author in doc and year in doc for author, year in papers)


@bound()
def test_every_setting_is_documented_and_bounded(entry: RegisteredAttack) -> None:
    documented = meanings(entry.factory)
    assert set(documented) == set(entry.defaults())
    assert all(len(meaning.split()) >= 2 for meaning in documented.values())
    hints = typing.get_type_hints(entry.factory, include_extras=True)
    for name, default in entry.defaults().items():
        assert inspect.signature(entry.factory).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        wanted = hints[name]
        ranges = []
        if typing.get_origin(wanted) is Annotated:
            wanted, *notes = typing.get_args(wanted)
            ranges = [note for note in notes if isinstance(note, Range)]
        if wanted in (int, float):
            assert type(default) is wanted
            (bounds,) = ranges
            assert bounds.least <= default <= bounds.most
            assert bounds.least < bounds.most
        elif typing.get_origin(wanted) is Literal:
            assert default in typing.get_args(wanted)
            assert all(isinstance(choice, str) for choice in typing.get_args(wanted))
        else:
            assert wanted is bool, f"{name}: wanted Annotated[int or float, Range], Literal of strings, or bool"


@bound()
def test_defaults_survive_being_recorded_and_given_again(entry: RegisteredAttack) -> None:
    written = record_settings(entry.defaults())
    words = {True: "true", False: "false"}
    spelled = {key: words[value] if type(value) is bool else str(value) for key, value in written.items()}
    assert entry.settings(spelled) == entry.defaults()
