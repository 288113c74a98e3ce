"""The frame around an objective: its optimiser, its step sizes, its starts, its views and its choice of a restart."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from poisonsets.interface import Budget, Context, Crafted, Task
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
from poisonsets.methods.augment import augment_images, draw_views
from poisonsets.methods.descent import Objective, OptimiserSpec, descend, differentiable
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import build

TRIALS, POISONS, SIDE = 2, 3, 9
CPU = torch.device("cpu")
STD = (0.25, 0.2, 0.5)
NETWORK = Surrogate(build("convnet", 2, "0.25", ("0.5", "0.4", "0.6"), ("0.25", "0.2", "0.5")), (0, 1), CPU)
BASES = 0.3 + 0.4 * torch.rand(TRIALS, POISONS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
FREE = Unconstrained()


def task(budget: Budget = FREE, bases: Tensor = BASES) -> Task:
    trials, poisons = bases.shape[:2]
    return Task(
        bases=bases,
        base_ids=tuple(tuple(range(poisons)) for _ in range(trials)),
        targets=bases[:, :1],
        labels=torch.zeros(trials, poisons, dtype=torch.int64),
        adversarial_labels=torch.zeros(trials, dtype=torch.int64),
        budget=budget,
    )


def context(seed: int = 0, trials: int = TRIALS, told: list[tuple[int, int]] | None = None) -> Context:
    generators = tuple(torch.Generator().manual_seed(seed + trial) for trial in range(trials))
    return Context((NETWORK,), generators, CPU, lambda *at: told.append(at) if told is not None else None, mirror=True)


def plain(steps: int, **other: object) -> OptimiserSpec:
    return OptimiserSpec(**{"steps": steps, "step_size": 0.001, "start": "bases", "augment": False, **other})


def in_units(images: Tensor) -> Tensor:
    """How far the bases moved, in units of the standard deviation."""
    return (images - BASES) / torch.tensor(STD).view(1, 1, 3, 1, 1)


class Script:
    """An objective whose gradient is prescribed, and which remembers what it was shown."""

    def __init__(self, gradients: list[Tensor]) -> None:
        self.gradients = gradients
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(images.clone())
        return torch.zeros(len(images)), self.gradients[min(len(self.seen) - 1, len(self.gradients) - 1)]


def as_objective(slope: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Objective:
    return Objective(lambda images: slope(images)[0], slope)


def test_signed_adam_is_the_bias_corrected_average_of_signs() -> None:
    generator = torch.Generator().manual_seed(1)
    gradients = [torch.randn(BASES.shape, generator=generator) for _ in range(7)]
    script = Script(gradients)
    found = descend(task(), context(), as_objective(script), plain(7, decays=False)).images
    average, moved = torch.zeros_like(BASES), torch.zeros_like(BASES)
    for step, gradient in enumerate(gradients, start=1):
        average = 0.9 * average + 0.1 * gradient.sign()
        moved -= 0.001 * average / (1 - 0.9**step)
    assert torch.allclose(in_units(found), moved, atol=1e-5)


def test_adam_sees_the_gradient_in_units_of_the_standard_deviation() -> None:
    """Against torch's own Adam on the scaled images."""
    goal = torch.full_like(BASES, 0.5)
    found = descend(
        task(),
        context(),
        differentiable(lambda x: (x - goal).square().flatten(1).sum(1)),
        plain(5, optimiser="adam", decays=False),
    ).images
    scale = torch.tensor(STD).view(1, 1, 3, 1, 1)
    scaled = (BASES / scale).requires_grad_()
    optimiser = torch.optim.Adam([scaled], lr=0.001)
    for _ in range(5):
        optimiser.zero_grad()
        (scaled * scale - goal).square().sum().backward()
        optimiser.step()
    assert torch.allclose(found, (scaled * scale).detach(), atol=1e-6)


@pytest.mark.parametrize(("steps", "drops"), [(250, (93, 156, 218)), (50, (18, 31, 43))])
def test_the_step_size_falls_after_the_published_steps(steps: int, drops: tuple[int, ...]) -> None:
    """93, 156 and 218 of 250, 18, 31 and 43 of 50: the published code's figures."""
    one = BASES[:1, :1, :, :2, :2].double().float()
    script = Script([torch.ones_like(one)])
    descend(task(bases=one), context(trials=1), as_objective(script), plain(steps, step_size=1e-4))
    sizes = [float((a - b).mean()) / sum(STD) * 3 / 1e-4 for a, b in itertools.pairwise(script.seen)]
    for step, size in enumerate(sizes):
        assert size == pytest.approx(0.1 ** sum(step >= drop for drop in drops), rel=0.2, abs=5e-4), step


def test_without_decay_all_steps_are_equal() -> None:
    found = descend(task(), context(), as_objective(Script([torch.ones_like(BASES)])), plain(20, decays=False)).images
    assert torch.allclose(in_units(found), torch.full_like(BASES, -0.02), atol=1e-5)


class Lottery:
    """An objective that does not move its images and whose value depends on where they started."""

    def __init__(self, values: list[list[float]]) -> None:
        self.values, self.calls, self.ends = values, 0, []

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        restart = self.calls // 2  # of each restart: its step, its end
        if self.calls % 2 == 1:
            self.ends.append(images.clone())
        self.calls += 1
        return torch.tensor(self.values[restart], dtype=torch.float32), torch.zeros_like(images)


@pytest.mark.parametrize(
    "values", [[[3, 1], [1, 2], [2, 3]], [[torch.nan, 1], [1, torch.nan], [2, 3]]], ids=["numbers", "not a number"]
)
def test_each_trial_keeps_its_own_best_restart(values: list[list[float]]) -> None:
    lottery = Lottery(values)
    crafted = descend(task(Linf(levels=8)), context(), as_objective(lottery), plain(1, start="normal", restarts=3))
    assert torch.equal(crafted.images[0], lottery.ends[1][0])
    assert torch.equal(crafted.images[1], lottery.ends[0][1])
    assert [curve[-1] for curve in crafted.history] == [1, 1]


def test_the_published_choice_goes_by_the_last_steps_loss() -> None:
    """Values of the steps and of the ends disagree about the better restart."""
    one = BASES[:1]
    for choice, better in (("evaluated", 1), ("published", 0)):
        values, ends = iter([1.0, 5.0, 2.0, 4.0]), []

        def objective(images: Tensor, values=values, ends=ends) -> tuple[Tensor, Tensor]:
            ends.append(images.clone())
            return torch.tensor([next(values)]), torch.zeros_like(images)

        frame = plain(1, start="normal", restarts=2, choice=choice)
        images = descend(task(Linf(levels=8), one), context(trials=1), as_objective(objective), frame).images
        assert torch.equal(images, ends[1 + 2 * better])


def test_a_normal_start_lies_on_the_bound_for_a_third_of_its_values() -> None:
    """31.7 % of normal draws are farther than one standard deviation; the published code's measured share is .314."""
    middle = torch.full((1, 20, 3, 16, 16), 0.5)
    script = Script([torch.zeros_like(middle)])
    descend(task(Linf(levels=8), middle), context(trials=1), as_objective(script), plain(1, start="normal"))
    moved = (script.seen[0] - middle) * 255 / 8
    assert float(moved.abs().max()) <= 1 + 1e-4
    assert float((moved.abs() > 1 - 1e-4).float().mean()) == pytest.approx(0.317, abs=0.015)


@pytest.mark.parametrize("budget", [Linf(levels=4), L2(squared_levels=2000)], ids=lambda one: one.norm)
def test_every_step_stays_inside_the_budget(budget: Budget) -> None:
    script = Script([torch.randn(BASES.shape, generator=torch.Generator().manual_seed(2))])
    found = descend(task(budget), context(), as_objective(script), plain(4, step_size=1.0, start="normal")).images
    for images in (*script.seen, found):
        moved = (images - BASES) * 255
        if isinstance(budget, Linf):
            assert float(moved.abs().max()) <= 4 + 1e-3
        else:
            assert float(moved.flatten(2).norm(dim=2).max()) <= 2000**0.5 + 1e-3
        assert 0 <= float(images.min()) <= float(images.max()) <= 1


def pulled(goal: Tensor) -> Objective:
    return differentiable(lambda images: (images - goal).square().mean((1, 2, 3, 4)))


@pytest.mark.parametrize("augment", [False, True])
def test_the_curve_starts_and_ends_with_what_the_same_views_show(augment: bool) -> None:
    frame = plain(12, step_size=0.02, augment=augment, restarts=2, start="normal")
    told: list[tuple[int, int]] = []
    crafted = descend(task(Linf(levels=16)), context(told=told), pulled(torch.full_like(BASES, 0.9)), frame)
    assert told == [(done, 24) for done in range(1, 25)]
    for curve in crafted.history:
        assert len(curve) == 13
        assert curve[-1] < 0.95 * curve[0]


def test_a_trial_draws_from_its_own_generator() -> None:
    frame = plain(5, step_size=0.02, augment=True, start="normal", restarts=2)
    goal = torch.full_like(BASES, 0.9)
    both = descend(task(Linf(levels=16)), context(), pulled(goal), frame)
    alone = descend(task(Linf(levels=16), BASES[1:]), context(seed=1, trials=1), pulled(goal[1:]), frame)
    assert torch.allclose(both.images[1:], alone.images, atol=1e-6)
    other: Crafted = descend(task(Linf(levels=16)), context(seed=5), pulled(goal), frame)
    assert not torch.equal(both.images, other.images)


def test_who_asks_is_told_the_images_before_every_step() -> None:
    seen: list[tuple[int, int]] = []
    shown: list[Tensor] = []

    def before(restart: int, step: int, images: Tensor) -> None:
        seen.append((restart, step))
        shown.append(images.clone())

    script = Script([torch.ones_like(BASES)])
    descend(task(), context(), as_objective(script), plain(3, restarts=2), before=before)
    assert seen == [(restart, step) for restart in (0, 1) for step in (0, 1, 2)]
    assert torch.allclose(shown[0], BASES, atol=1e-6)
    assert torch.allclose(in_units(shown[1]), torch.full_like(BASES, -0.001), atol=1e-5)


MEAN = torch.tensor([0.5, 0.4, 0.6]).view(1, 3, 1, 1)
STILL = torch.tensor([0.5, 0.5, 0.0])


def test_without_shift_a_view_is_the_image_or_its_mirror() -> None:
    images = BASES[0]
    same = augment_images(images, STILL.expand(POISONS, 3), MEAN)
    assert torch.allclose(same, images, atol=1e-5)
    turned = augment_images(images, torch.tensor([0.5, 0.5, 1.0]).expand(POISONS, 3), MEAN)
    assert torch.allclose(turned, images.flip(-1), atol=1e-5)
    kept = augment_images(images, torch.tensor([0.5, 0.5, 1.0]).expand(POISONS, 3), MEAN, mirror=False)
    assert torch.allclose(kept, images, atol=1e-5)


@pytest.mark.parametrize(("side", "most"), [(32, 4), (64, 8), (224, 28)])
def test_the_largest_shift_is_the_published_one_and_brings_in_the_mean_colour(side: int, most: int) -> None:
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3))
    found = augment_images(images, torch.tensor([[1.0, 0.5, 0.0]]), MEAN)
    assert torch.allclose(found[..., : side - most], images[..., most:], atol=1e-4)
    assert torch.allclose(found[..., side - most :], MEAN.expand(1, 3, side, most), atol=1e-4)
    upwards = augment_images(images, torch.tensor([[0.5, 1.0, 0.0]]), MEAN)
    assert torch.allclose(upwards[..., : side - most, :], images[..., most:, :], atol=1e-4)


def test_gradients_flow_through_a_view_to_the_pixels_it_shows() -> None:
    leaf = BASES[0].clone().requires_grad_()
    views = draw_views(POISONS, torch.Generator().manual_seed(4))
    augment_images(leaf, views, MEAN).sum().backward()
    assert leaf.grad is not None
    middle = leaf.grad[..., 3:-3, 3:-3]
    assert torch.allclose(middle, torch.ones_like(middle), atol=1e-4), "weights of neighbours add up to one"
    assert float(leaf.grad.min()) < 0.9, "what is shifted out has none"


def test_views_are_drawn_evenly_and_one_half_is_mirrored() -> None:
    views = draw_views(4000, torch.Generator().manual_seed(5))
    assert views.shape == (4000, 3)
    assert torch.allclose(views.mean(0), torch.full((3,), 0.5), atol=0.03)
    assert 0 <= float(views.min()) <= float(views.max()) <= 1
