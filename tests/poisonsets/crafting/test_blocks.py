"""What is crafted together is a fixed function of the trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
from forge import noise_request, small_base
from hypothesis import given, settings
from hypothesis import strategies as st

from poisonsets.crafting.blocks import Block, partition
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.records.origin import DrawnSetup
from poisonsets.manifests.records.trial import SplitTarget
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.trials.drawn import draw
from poisonsets.manifests.trials.plan import Plan
from poisonsets.surrogates import Surrogates
from poisonsets.victims.networks.weights import Weights

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
    request = noise_request(base, seed=seed)
    entry = replace(request.attack, name=attack, traits=replace(request.attack.traits, batched=batched))
    return list(partition(replace(request, plans=tuple(plans), attack=entry, surrogates=surrogates or Surrogates())))


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
    train = Split(rng.integers(0, 256, (68, 8, 8, 3), dtype=np.uint8), labels)
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
