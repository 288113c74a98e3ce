"""What is crafted together is a fixed function of the trials, and a bad result costs its own trial only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch
from forge import small_base
from hypothesis import given, settings
from hypothesis import strategies as st

from poisonsets import registry
from poisonsets.blocks import Block, Crafter, Result, partition
from poisonsets.interface import Attack, Context, Crafted, Task, Traits
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.model import L2, DrawnSetup, Linf, SplitTarget
from poisonsets.manifests.setups.drawn import draw
from poisonsets.manifests.setups.plan import Plan
from poisonsets.manifests.stream import Stream
from poisonsets.surrogates import Surrogates
from poisonsets.victims.weights import Weights

BASE = small_base(side=32)
SMALL = small_base()
FULL = 256  # images of 32x32 a block


def plan(number: int, poisons: int, base: Base = BASE) -> Plan:
    """A trial with any number of poisons: bases of class 0, over and over."""
    bases = np.resize(np.flatnonzero(base.train.labels == 0), poisons)
    target = int(np.flatnonzero(base.test.labels == 1)[number % 3])
    return Plan(number, (SplitTarget(split="test", index=target, label=1),), 0, tuple(int(i) for i in bases))


def split(
    plans: Sequence[Plan],
    base: Base = BASE,
    *,
    attack: str = "noise",
    seed: int = 0,
    batched: bool = True,
    surrogates: Surrogates | None = None,
) -> list[Block]:
    surrogates = surrogates or Surrogates()
    return list(partition(plans, base, attack=attack, seed=seed, batched=batched, surrogates=surrogates))


def sizes(blocks: Sequence[Block]) -> list[int]:
    return [len(block.plans) for block in blocks]


@pytest.mark.parametrize(("poisons", "wanted"), [(25, [10, 10, 3]), (100, [2] * 11 + [1]), (300, [1] * 23), (1, [23])])
def test_a_block_holds_at_most_256_images(poisons: int, wanted: list[int]) -> None:
    plans = [plan(number, poisons) for number in range(23)]
    assert sizes(split(plans)) == wanted
    assert sizes(split(plans, batched=False)) == [1] * 23


def test_smaller_images_make_larger_blocks() -> None:
    assert sizes(split([plan(number, 25, SMALL) for number in range(164)], SMALL)) == [163, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([1, 3, 25, 130, 300]), min_size=1, max_size=30))
def test_blocks_are_runs_of_equal_trials_as_long_as_can_be(counts: list[int]) -> None:
    plans = [plan(number, poisons) for number, poisons in enumerate(counts)]
    blocks = split(plans)
    assert [one for block in blocks for one in block.plans] == plans
    for block in blocks:
        assert len({len(one.bases) for one in block.plans}) == 1
        assert block.bases.shape[:2] == (len(block.plans), len(block.plans[0].bases))
        assert len(block.plans) == 1 or block.bases.shape[0] * block.bases.shape[1] <= FULL
    for one, following in pairwise(blocks):
        if one.bases.shape[1] == following.bases.shape[1]:
            assert (len(one.plans) + 1) * one.bases.shape[1] > FULL, "there was room for the next trial"


def test_a_rate_gives_classes_of_other_sizes_other_blocks() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), (8, 20, 40)).astype(np.int64)
    train = Split.of(rng.integers(0, 256, (68, 8, 8, 3), dtype=np.uint8), labels)
    base = Base("uneven", ("a", "b", "c"), train, SMALL.test, (0, 1, 2), (0, 1, 2), mirror=False)
    plans = [draw(base, DrawnSetup(seed=0, rate="1/4"), number) for number in range(20)]
    blocks = split(plans, base)
    wanted = [len(list(run)) for _, run in groupby(len(one.bases) for one in plans)]
    assert sizes(blocks) == wanted
    assert {block.bases.shape[1] for block in blocks} == {2, 5, 10}


def test_a_block_holds_the_images_of_its_trials() -> None:
    plans = [draw(SMALL, DrawnSetup(seed=1, poisons=3), number) for number in range(4)]
    (block,) = split(plans, SMALL)
    for i, one in enumerate(plans):
        assert np.array_equal(block.bases[i], SMALL.train.images[list(one.bases)])
        assert np.array_equal(block.targets[i], SMALL.test.images[[one.targets[0].index]])
        assert block.targets.dtype == block.bases.dtype == np.uint8


def test_a_seed_belongs_to_set_attack_and_trial_and_not_to_the_block() -> None:
    plans = [plan(number, 25) for number in range(12)]

    def seeds(some: Sequence[Plan], seed: int = 0, attack: str = "noise", batched: bool = True) -> dict[int, int]:
        blocks = split(some, attack=attack, seed=seed, batched=batched)
        return {p.trial: s for block in blocks for p, s in zip(block.plans, block.seeds, strict=True)}

    usual = seeds(plans)
    assert len(set(usual.values())) == len(plans)
    assert seeds(plans, batched=False) == usual
    assert seeds(plans[3:5]) == {trial: usual[trial] for trial in (3, 4)}
    assert usual[7] == Stream("craft", 0, "noise", 7).seed()
    for others in (seeds(plans, seed=1), seeds(plans, attack="bullseye-polytope")):
        assert not set(others.values()) & set(usual.values())


def test_trials_of_a_block_share_their_draw_from_the_pool(tiny_weights: tuple[Weights, ...]) -> None:
    plans = [plan(number, 3, SMALL) for number in range(40)]
    pool = Surrogates(tiny_weights, pool=True)
    blocks = split(plans, SMALL, surrogates=pool, seed=5)
    assert [one for block in blocks for one in block.plans] == plans
    for block in blocks:
        assert {pool.of_trial(one.trial, 5) for one in block.plans} == {block.surrogates}
    assert all(one.surrogates != following.surrogates for one, following in pairwise(blocks))
    assert {block.surrogates for block in blocks} == {(0,), (1,), (2,)}
    (whole,) = split(plans, SMALL, surrogates=Surrogates(tiny_weights))
    assert whole.surrogates == (0, 1, 2)


# --- results ---------------------------------------------------------------------------------------------------

PLANS = tuple(plan(number, 4, SMALL) for number in range(3))


def results(craft: Attack, budget: Linf | L2 = Linf(levels=8)) -> list[Result]:
    """What becomes of a block of three trials under an attack made for the test."""

    def factory() -> Attack:
        """Do what the test says."""
        return craft

    registry.attack("of-the-test", version=1, traits=Traits(), source="none: a test")(factory)
    (block,) = split(PLANS, SMALL, attack="of-the-test")
    return Crafter("of-the-test", {}, budget, (), "cpu").run(block)


def one_bad(value: float) -> Callable[[Task], torch.Tensor]:
    def images(task: Task) -> torch.Tensor:
        images = task.bases.clone()
        images[1, 2, 0, 3, 3] = value
        return images

    return images


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_cost_their_trial_only(value: float) -> None:
    found = results(lambda task, context: Crafted(one_bad(value)(task)))
    assert [result.refusal for result in found] == ["", "the attack gave values that are not finite", ""]
    assert [result.images is None for result in found] == [False, True, False]
    assert [result.plan for result in found] == list(PLANS)


@pytest.mark.usefixtures("open_registry")
def test_an_objective_that_is_not_finite_costs_its_trial_only() -> None:
    curves = ((2.0, 1.0), (2.0, float("nan")), (2.0, 0.5))
    found = results(lambda task, context: Crafted(task.bases, curves))
    assert [result.refusal for result in found] == ["", "the attack's objective is not finite", ""]
    assert [result.history for result in found] == [curves[0], (), curves[2]]


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda bases: Crafted(bases[:, :3]), "images of shape (3, 3, 3, 8, 8), wanted (3, 4, 3, 8, 8)"),
        (lambda bases: Crafted(bases[:2]), "images of shape (2, 4, 3, 8, 8), wanted (3, 4, 3, 8, 8)"),
        (lambda bases: Crafted(bases.flatten(0, 1)), "images of shape (12, 3, 8, 8), wanted (3, 4, 3, 8, 8)"),
        (lambda bases: Crafted(bases.permute(0, 1, 3, 4, 2)), "images of shape (3, 4, 8, 8, 3)"),
        (lambda bases: Crafted(bases.double()), "images of type float64, wanted float32"),
        (lambda bases: Crafted((bases * 255).byte()), "images of type uint8, wanted float32"),
        (lambda bases: Crafted(bases, ((1.0,), (1.0,))), "a history of 2 trials, wanted 3"),
    ],
)
def test_a_result_of_the_wrong_form_is_refused(spoil: Callable[[torch.Tensor], Crafted], complaint: str) -> None:
    found = results(lambda task, context: spoil(task.bases))
    assert all(complaint in result.refusal and result.images is None for result in found)


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("budget", [Linf(levels=8), L2(squared_levels=900)], ids=lambda budget: budget.norm)
def test_whatever_an_attack_returns_ends_inside_the_budget(budget: Linf | L2) -> None:
    (block,) = split(PLANS, SMALL)
    for result, bases in zip(
        results(lambda task, context: Crafted(1e3 - task.bases), budget), block.bases, strict=True
    ):
        assert result.images is not None
        delta = result.images.astype(np.int64) - bases
        measure = np.abs(delta).max() if isinstance(budget, Linf) else (delta**2).sum(axis=(1, 2, 3)).max()
        limit = budget.levels if isinstance(budget, Linf) else budget.squared_levels
        assert 0 < measure <= limit


@pytest.mark.usefixtures("open_registry")
def test_an_attack_is_given_its_trials_as_they_are() -> None:
    seen: list[tuple[Task, Context]] = []

    def watch(task: Task, context: Context) -> Crafted:
        seen.append((task, context))
        return Crafted(task.bases)

    found = results(watch)
    ((task, context),) = seen
    (block,) = split(PLANS, SMALL, attack="of-the-test")
    assert task.bases.shape == (3, 4, 3, 8, 8)
    assert task.targets.shape == (3, 1, 3, 8, 8)
    assert torch.equal(task.bases[1, 2, :, 3, 4], torch.tensor(block.bases[1, 2, 3, 4]).float() / 255)
    assert task.labels.tolist() == [[0] * 4] * 3
    assert task.adversarial_labels.tolist() == [0] * 3
    assert context.surrogates == ()
    assert [generator.initial_seed() for generator in context.generators] == list(block.seeds)
    for result, bases in zip(found, block.bases, strict=True):
        assert np.array_equal(result.images, bases)


def test_a_random_trial_is_the_same_bytes_in_any_block() -> None:
    crafter = Crafter("noise", {}, Linf(levels=8), (), "cpu")
    (together,) = (crafter.run(block) for block in split(PLANS, SMALL))
    alone = [result for block in split(PLANS, SMALL, batched=False) for result in crafter.run(block)]
    assert [one.images.tobytes() for one in together] == [one.images.tobytes() for one in alone]
