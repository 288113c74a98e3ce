"""Clean-label, hidden-trigger and dirty-label backdoors and the two baselines: what each does beyond the laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from poisonsets import attacks
from poisonsets.attacks.clean_label_backdoor import clean_label_backdoor
from poisonsets.attacks.hidden_trigger_backdoor import hidden_trigger_backdoor
from poisonsets.attacks.watermark import watermark
from poisonsets.budget import nearest_levels
from poisonsets.images import TrainingImages, as_floats, stamp_training
from poisonsets.interface import Budget, Context, Crafted, Task
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger, footprint, stamp
from poisonsets.manifests.records.trial import L2, Linf
from poisonsets.surrogates import Surrogate
from poisonsets.triggers import resolve
from poisonsets.victims.networks import build

CPU = torch.device("cpu")
TRIALS, POISONS, SIDE = 2, 5, 16
EIGHT = Linf(levels=8)


def network(seed: int, classes: tuple[int, ...] = (0, 1, 2)) -> Surrogate:
    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.2", "0.3"))
    built = build("convnet", 3, "0.25", *normal, generator=torch.Generator().manual_seed(seed))
    hidden = built.body.hidden
    assert isinstance(hidden, torch.nn.Linear)
    hidden.weight.data *= 16
    return Surrogate(built, classes, CPU)


NETWORKS = (network(1), network(2))


def small_base() -> Base:
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8), np.arange(count) % 3)

    return Base("random", ("a", "b", "c"), split(60), split(6), (0, 1, 2), (0, 1, 2), mirror=False)


BASE = small_base()
PATCH = resolve("patch", BASE, seed=0)[0]


def floats(images: Images) -> Tensor:
    return as_floats(images, CPU)


class Training(TrainingImages):
    """The base's training split; it remembers what it was asked to put a trigger on."""

    def __init__(self) -> None:
        super().__init__(BASE.train, CPU)
        self.asked: list[tuple[int, ...]] = []

    def stamped(self, ids: Sequence[int], trigger: Trigger) -> Tensor:
        self.asked.append(tuple(ids))
        return super().stamped(ids, trigger)


IDS = tuple(tuple(range(3 * POISONS * t, 3 * POISONS * (t + 1), 3)) for t in range(TRIALS))  # all of class 0
TASK = Task(
    bases=torch.stack([floats(BASE.train.images[list(ids)]) for ids in IDS]),
    base_ids=IDS,
    targets=floats(BASE.test.images[:4]).view(TRIALS, 2, 3, SIDE, SIDE),
    labels=torch.zeros(TRIALS, POISONS, dtype=torch.int64),
    adversarial_labels=torch.zeros(TRIALS, dtype=torch.int64),
    budget=EIGHT,
    source_classes=((1,), (2,)),
    trigger=PATCH,
    keep=POISONS,
)


def context(seed: int = 0, networks: tuple[Surrogate, ...] = NETWORKS) -> Context:
    generators = tuple(torch.Generator().manual_seed(10 * seed + trial) for trial in range(TRIALS))
    return Context(networks, generators, CPU, lambda done, total: None, training=Training())


def hidden(task: Task = TASK, given: Context | None = None, **settings: Any) -> Crafted:
    options: dict[str, Any] = {"steps": 40, "stop": 0.0, "learning_rate": 1e-3, **settings}
    return hidden_trigger_backdoor(**options)(task, given or context())


def moved(crafted: Crafted) -> Tensor:
    """Levels by which each value moved, [T, P, 3, H, W]."""
    return (crafted.images - TASK.bases).abs() * 255


def test_the_stamp_of_tensors_is_the_stamp_of_levels() -> None:
    for spec in ("patch,place=random", "sine", "patch,alpha=0.3"):
        trigger = resolve(spec, BASE, seed=1)[0]
        names = [f"train/{i}" for i in range(4)]
        images = BASE.train.images[:4]
        done = np.stack([stamp(image, trigger, name) for image, name in zip(images, names, strict=True)])
        nearest = nearest_levels((floats(images) + 0.4 / 255).clamp(0, 1))
        assert np.array_equal(nearest, images)
        assert np.array_equal(stamp_training(nearest, trigger, range(4)), done)


@pytest.mark.parametrize("budget", [EIGHT, L2(squared_levels=20_000)], ids=lambda budget: budget.norm)
def test_a_trigger_in_the_budget_leaves_its_ghost(budget: Budget) -> None:
    crafted = clean_label_backdoor(steps=4)(replace(TASK, budget=budget), context())
    delta = (crafted.images - TASK.bases) * 255
    under = torch.from_numpy(footprint(PATCH, SIDE, SIDE, "train/0"))
    full = floats(stamp_training(nearest_levels(TASK.bases[0]), PATCH, IDS[0])) - TASK.bases[0]
    ghost, whole = delta[0][..., under], full[..., under]
    assert float(torch.nn.functional.cosine_similarity(ghost.flatten(), whole.flatten(), dim=0)) > 0.7
    if isinstance(budget, Linf):
        assert float(delta.abs().max()) <= 8 + 1e-4
        large = whole.abs() * 255 > 8
        assert bool((ghost[large] - 8 * whole[large].sign()).abs().max() < 1e-3)
    else:
        assert float(delta.flatten(2).norm(dim=2).max()) <= 20_000**0.5 + 1e-2


def test_an_exempt_trigger_is_left_to_the_driver() -> None:
    with_it = clean_label_backdoor(steps=4)(TASK, context())
    without = clean_label_backdoor(steps=4, trigger_in_budget=False)(TASK, context())
    under = torch.from_numpy(footprint(PATCH, SIDE, SIDE, "train/0"))
    assert float(moved(without).max()) <= 8 + 1e-4
    apart = (with_it.images - without.images).abs() * 255
    assert float(apart[..., ~under].max()) <= 0.5 + 1e-3
    assert float(apart[..., under].max()) > 8
    assert torch.equal(without.images, clean_label_backdoor(steps=4)(replace(TASK, trigger=None), context()).images)


def test_clean_label_backdoor_lowers_the_probability_of_the_label() -> None:
    crafted = clean_label_backdoor(steps=10, trigger_in_budget=False)(TASK, context(networks=NETWORKS[:1]))
    with torch.no_grad():
        scores = torch.softmax(NETWORKS[0].logits(crafted.images.flatten(0, 1)), 1)[:, 0].view(TRIALS, POISONS).mean(1)
    assert torch.allclose(scores, torch.tensor([curve[-1] for curve in crafted.history]), atol=1e-5)
    assert all(len(curve) == 11 and curve[-1] < 0.5 * curve[0] for curve in crafted.history)


def test_starts_of_the_clean_label_backdoor() -> None:
    settings: dict[str, Any] = {"steps": 0, "trigger_in_budget": False}
    assert torch.equal(clean_label_backdoor(start="base", **settings)(TASK, context()).images, TASK.bases)
    # Where no value is near black or white, the noise is uniform in -8..8.
    grey = replace(TASK, bases=torch.full_like(TASK.bases, 0.5))
    noise = (clean_label_backdoor(start="random", **settings)(grey, context()).images - 0.5) * 255
    assert float(noise.abs().max()) <= 8 + 1e-4
    assert float(noise.mean()) == pytest.approx(0, abs=0.3)
    assert float(noise.std()) == pytest.approx(8 / 3**0.5, rel=0.03)


@pytest.mark.parametrize("pairing", ["greedy", "assignment", "published"])
def test_hidden_trigger_poisons_come_near_the_patched_sources(pairing: str) -> None:
    given = context(networks=NETWORKS[:1])
    crafted = hidden(given=given, pairing=pairing)
    assert isinstance(given.training, Training)
    for trial, (ids, images) in enumerate(zip(tuple(given.training.asked), crafted.images, strict=True)):
        assert set(BASE.train.labels[list(ids)].tolist()) == set(TASK.source_classes[trial])
        assert len(set(ids)) == POISONS
        goal = NETWORKS[0].features(given.training.stamped(ids, PATCH))
        near, before = (
            torch.cdist(NETWORKS[0].features(one), goal).square().amin(1).sum() for one in (images, TASK.bases[trial])
        )
        assert float(near) < 0.8 * float(before)
        assert crafted.history[trial][-1] < 0.9 * crafted.history[trial][0]
    assert float(moved(crafted).max()) <= 8 + 1e-4


def test_the_last_value_is_that_of_the_returned_images() -> None:
    """And with several networks their squared distances add up: a continued run starts where the first ended."""
    first = hidden(steps=10)
    again = hidden(replace(TASK, bases=first.images), steps=1)
    assert [curve[0] for curve in again.history] == pytest.approx([curve[-1] for curve in first.history], rel=1e-5)


def test_a_trial_below_the_stop_is_done_and_the_others_go_on() -> None:
    free = hidden(steps=30)
    first, second = free.history
    stop = (first[10] + first[11]) / 2 if first[10] < min(second) else (second[10] + second[11]) / 2
    stopped = hidden(steps=30, stop=stop)
    lengths = [len(curve) for curve in stopped.history]
    for trial, curve in enumerate(stopped.history):
        assert curve == pytest.approx(free.history[trial][: lengths[trial]], rel=1e-3)
        assert lengths[trial] == 31 or curve[-1] < stop <= min(curve[:-1])
    assert min(lengths) < max(lengths)


def test_the_rate_decays_by_the_published_steps() -> None:
    """After the first `every` steps a rate of nearly nothing leaves the images where they are."""
    short = hidden(steps=5)
    long = hidden(steps=15, every=5, decay=0.01)
    fast = hidden(steps=15)
    assert float((long.images - short.images).abs().max()) < 0.5 * float((fast.images - short.images).abs().max())


def test_fewer_source_images_than_poisons_come_again() -> None:
    many = replace(
        TASK, bases=TASK.bases.repeat(1, 5, 1, 1, 1), base_ids=tuple(ids * 5 for ids in IDS), keep=5 * POISONS
    )
    given = context(networks=NETWORKS[:1])
    hidden(many, given, steps=1)
    assert isinstance(given.training, Training)
    counts = [np.unique(ids, return_counts=True)[1] for ids in given.training.asked]
    assert all(sum(one) == 25 and set(one.tolist()) == {1, 2} and len(one) == 20 for one in counts)


@pytest.mark.parametrize("name", ["patch-backdoor", "label-flip", "badnets", "Truong"])
def test_dirty_label_attacks_leave_the_images_alone(name: str) -> None:
    entry = attacks.find(name)
    crafted = entry.factory()(TASK, context(networks=()))
    assert torch.equal(crafted.images, TASK.bases)
    assert crafted.images.data_ptr() != TASK.bases.data_ptr()
    assert crafted.history == ()
    assert entry.traits.labels == "adversarial"
    assert not entry.traits.perturbs


def test_a_watermark_shows_each_target_in_turn() -> None:
    free = replace(TASK, budget=Linf.model_construct(levels=255))
    images = watermark(opacity=0.25)(free, context(networks=())).images
    for poison in range(POISONS):
        wanted = 0.75 * TASK.bases[:, poison] + 0.25 * TASK.targets[:, poison % 2]
        assert torch.allclose(images[:, poison], wanted, atol=1e-6)
    inside = watermark()(TASK, context(networks=()))
    assert float(moved(inside).max()) == pytest.approx(8, abs=1e-3)
