"""What becomes of an attack's result: a bad one costs its own trial only, a full memory halves the block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from forge import noise_request, small_base

from poisonsets import registry
from poisonsets.crafting.blocks import Block, partition
from poisonsets.crafting.crafter import CraftedTrial, Crafter, RefusedTrial
from poisonsets.interface import Attack, Budget, Context, Crafted, Task
from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.overlay.stamp import Trigger, stamp
from poisonsets.manifests.records.origin import DrawnSetup
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
from poisonsets.manifests.records.triggers import PatchTrigger, RandomPlace
from poisonsets.manifests.trials.drawn import draw
from poisonsets.manifests.trials.plan import Plan
from poisonsets.registry import Traits

SMALL = small_base()
SETUP = DrawnSetup(seed=2, poisons=4, class_pair=(0, 1))
PLANS = tuple(draw(SMALL, SETUP, number) for number in range(3))
TRIGGER = Trigger(PatchTrigger(image="triggers/t.png", place=RandomPlace(seed=1)), np.full((2, 2, 3), 7, np.uint8))


def split(plans: tuple[Plan, ...], *, attack: str = "noise", batched: bool = True) -> list[Block]:
    request = noise_request(SMALL, seed=0)
    entry = replace(request.attack, name=attack, traits=replace(request.attack.traits, batched=batched))
    return list(partition(replace(request, plans=plans, attack=entry)))


def crafter_of(craft: Attack, traits: Traits | None = None, **fields: Any) -> Crafter:
    """A crafter with an attack made for the test."""

    def factory() -> Attack:
        """Do what the test says."""
        return craft

    registry.attack("of-the-test", version=1, traits=traits or Traits(), source="none: a test")(factory)
    return Crafter(replace(noise_request(SMALL), attack=registry.registered()["of-the-test"], **fields))


def results(craft: Attack, budget: Budget = Linf(levels=8)) -> list[CraftedTrial | RefusedTrial]:
    """What becomes of a block of three trials under an attack made for the test."""
    (block,) = split(PLANS, attack="of-the-test")
    return crafter_of(craft, budget=budget).run(block)


def reasons(found: list[CraftedTrial | RefusedTrial]) -> list[str]:
    """Of each trial why it was refused, or an empty string."""
    return [one.reason if isinstance(one, RefusedTrial) else "" for one in found]


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
    assert reasons(found) == ["", "the attack gave values that are not finite", ""]
    assert [result.plan for result in found] == list(PLANS)


@pytest.mark.usefixtures("open_registry")
def test_an_objective_that_is_not_finite_costs_its_trial_only() -> None:
    curves = ((2.0, 1.0), (2.0, float("nan")), (2.0, 0.5))
    found = results(lambda task, context: Crafted(task.bases, curves))
    assert reasons(found) == ["", "the attack's objective is not finite", ""]
    assert [one.history for one in found if isinstance(one, CraftedTrial)] == [curves[0], curves[2]]


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
    assert all(complaint in reason for reason in reasons(found))


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("budget", [Linf(levels=8), L2(squared_levels=900)], ids=lambda budget: budget.norm)
def test_whatever_an_attack_returns_ends_inside_the_budget(budget: Linf | L2) -> None:
    (block,) = split(PLANS)
    for result, bases in zip(
        results(lambda task, context: Crafted(1e3 - task.bases), budget), block.bases, strict=True
    ):
        assert isinstance(result, CraftedTrial)
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
    (block,) = split(PLANS, attack="of-the-test")
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
    crafter = Crafter(noise_request(SMALL))
    (together,) = (crafter.run(block) for block in split(PLANS))
    alone = [result for block in split(PLANS, batched=False) for result in crafter.run(block)]
    assert [one.images.tobytes() for one in together] == [one.images.tobytes() for one in alone]


# --- memory and devices ----------------------------------------------------------------------------------------

NO_MEMORY = (
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
    "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
)
FAILURES = (
    RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    torch.AcceleratorError("device-side assert triggered"),
)


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("room", [1, 2])
def test_a_block_too_large_for_the_memory_is_halved_and_says_so(room: int) -> None:
    def greedy(task: Task, context: Context) -> Crafted:
        if len(task.bases) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Crafted(task.bases)

    (block,) = split(PLANS)
    found = crafter_of(greedy).run(block)
    assert [one.plan for one in found] == list(PLANS)
    assert [one.halvings for one in found] == ([1, 2, 2] if room == 1 else [1, 1, 1])
    for one, bases in zip(found, block.bases, strict=True):
        assert np.array_equal(one.images, bases)


@pytest.mark.usefixtures("open_registry")
def test_memory_that_never_suffices_stops_the_run() -> None:
    many = tuple(draw(SMALL, DrawnSetup(seed=2, poisons=1, class_pair=(0, 1)), number) for number in range(200))
    calls: list[int] = []

    def counting(task: Task, context: Context) -> Crafted:
        calls.append(len(task.bases))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MissingError, match="out of memory"):
        crafter_of(counting).run(split(many)[0])
    assert calls == [200, 100, 50, 25, 12, 6, 3]


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("said", NO_MEMORY)
def test_every_library_says_in_its_own_words_that_memory_ran_out(said: str) -> None:
    def greedy(task: Task, context: Context) -> Crafted:
        if len(task.bases) > 1:
            raise RuntimeError(said)
        return Crafted(task.bases)

    found = crafter_of(greedy).run(split(PLANS)[0])
    assert [one.halvings for one in found] == [1, 2, 2]


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("error", FAILURES, ids=str)
def test_a_device_that_fails_stops_the_run_and_refuses_no_trial(error: RuntimeError) -> None:
    def dying(task: Task, context: Context) -> Crafted:
        raise error

    with pytest.raises(MissingError, match=r"cpu: the device failed \(.*\). .* go on with --resume"):
        crafter_of(dying).run(split(PLANS)[0])


@pytest.mark.usefixtures("open_registry")
def test_a_real_refusal_of_memory_is_known_as_one() -> None:
    def greedy(task: Task, context: Context) -> Crafted:
        if len(task.bases) > 1:
            torch.empty(10**15)
        return Crafted(task.bases)

    found = crafter_of(greedy).run(split(PLANS)[0])
    assert reasons(found) == ["", "", ""]
    assert {one.halvings for one in found} == {1, 2}


# --- triggers and selections -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize(
    ("budget", "constrained", "stamped"),
    [
        (Linf(levels=8), True, False),
        (Unconstrained(), True, False),
        (Unconstrained(), False, True),
    ],
)
def test_a_trigger_is_stamped_last_where_no_budget_holds_it(budget: Budget, constrained: bool, stamped: bool) -> None:
    crafter = crafter_of(
        lambda task, context: Crafted(task.bases),
        Traits(constrained=constrained),
        budget=budget,
        trigger=(TRIGGER, "patch"),
    )
    (block,) = split(PLANS)
    for result, plan, bases in zip(crafter.run(block), PLANS, block.bases, strict=True):
        wanted = [stamp(image, TRIGGER, f"train/{i}") for image, i in zip(bases, plan.bases, strict=True)]
        assert np.array_equal(result.images, wanted if stamped else bases)


CHOOSING = tuple(
    draw(SMALL, DrawnSetup(seed=2, poisons=2, candidates=4, class_pair=(0, 1)), number) for number in range(2)
)


@pytest.mark.usefixtures("open_registry")
def test_a_selection_decides_bases_and_images() -> None:
    kept = torch.tensor([[1, 3], [0, 2]])
    crafter = crafter_of(lambda task, context: Crafted(task.bases, kept=kept), Traits(selects=True))
    (block,) = split(CHOOSING)
    for result, plan, slots, bases in zip(crafter.run(block), CHOOSING, kept.tolist(), block.bases, strict=True):
        assert result.bases == tuple(plan.bases[slot] for slot in slots)
        assert np.array_equal(result.images, bases[slots])


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize(
    ("kept", "complaint"),
    [
        (None, "4 poisons, wanted 2 of the candidates"),
        ([[0], [1]], "a selection of shape (2, 1), wanted (2, 2)"),
        ([[1, 0], [1, 1]], "not 2 ascending positions among 4 candidates"),
        ([[0, 4], [-1, 2]], "not 2 ascending positions among 4 candidates"),
    ],
)
def test_a_selection_of_the_wrong_form_is_refused(kept: list[list[int]] | None, complaint: str) -> None:
    chosen = None if kept is None else torch.tensor(kept)
    crafter = crafter_of(lambda task, context: Crafted(task.bases, kept=chosen), Traits(selects=True))
    assert all(complaint in reason for reason in reasons(crafter.run(split(CHOOSING)[0])))


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("budget", [Unconstrained(), Linf(levels=8, exempt_trigger=True)])
def test_a_setting_that_leaves_the_trigger_out_of_the_budget_stamps_it_whatever_the_budget(budget: Budget) -> None:
    def attack(*, held: bool = False) -> Attack:
        """Leave the images alone."""
        return lambda task, context: Crafted(task.bases)

    registry.attack("of-the-test", version=1, traits=Traits(exempting="held"), source="none: a test")(attack)
    (block,) = split(PLANS)
    request = replace(noise_request(SMALL), attack=registry.registered()["of-the-test"], budget=budget)
    for held in (True, False):
        crafter = Crafter(replace(request, settings={"held": held}, trigger=(TRIGGER, "patch")))
        for result, plan, bases in zip(crafter.run(block), PLANS, block.bases, strict=True):
            wanted = [stamp(image, TRIGGER, f"train/{i}") for image, i in zip(bases, plan.bases, strict=True)]
            assert np.array_equal(result.images, bases if held else wanted)
