"""The attacks do what their papers say, on handwritten digits and the base's default network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from poisonsets.crafting.blocks import partition
from poisonsets.crafting.crafter import CraftedTrial, Crafter
from poisonsets.crafting.planning import Draw, craft_request
from poisonsets.interface import Budget
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import L2, Linf
from poisonsets.surrogates import Surrogate, Surrogates
from poisonsets.victims.networks.weights import Weights

CPU = torch.device("cpu")
TRIALS, POISONS = 4, 10


@pytest.fixture(scope="module")
def weights(extractor_of_digits: Weights) -> Weights:
    return extractor_of_digits


@pytest.fixture(scope="module")
def network(weights: Weights) -> Surrogate:
    return Surrogate(weights.network, tuple(weights.record["classes"]), CPU)


def crafted(
    base: Base, attack: str, settings: Mapping[str, str], surrogates: Surrogates, budget: Budget | None = None
) -> list[CraftedTrial]:
    """Trials 0 to 3 of ten poisons each, as integers, as they would go to disk."""
    request = craft_request(
        attack, base, settings=settings, surrogates=surrogates, trials=range(TRIALS), asked=Draw(poisons=POISONS)
    )
    request = replace(request, budget=budget or Linf(levels=32))
    crafter = Crafter(request)
    found = [result for block in partition(request) for result in crafter.run(block)]
    return [result for result in found if isinstance(result, CraftedTrial)]


def features(network: Surrogate, images: Images) -> torch.Tensor:
    """float32 [N, D]."""
    with torch.no_grad():
        return network.features(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)


def pictures(results: list[CraftedTrial]) -> Images:
    """uint8 [T, P, H, W, 3]."""
    return np.stack([result.images for result in results])


def targets(base: Base, results: list[CraftedTrial]) -> Images:
    """uint8 [T, H, W, 3], each trial's target."""
    return np.stack([base.test.images[result.plan.targets[0].index] for result in results])


@pytest.fixture(scope="module")
def bullseye(digits: Base, weights: Weights) -> list[CraftedTrial]:
    return crafted(digits, "bullseye-polytope", {"steps": "60"}, Surrogates((weights,)))


@pytest.fixture(scope="module")
def collision(digits: Base, weights: Weights) -> list[CraftedTrial]:
    settings = {"steps": "40", "learning_rate": "0.02", "growth": "1.5"}
    return crafted(digits, "feature-collision", settings, Surrogates((weights,)))


@pytest.mark.parametrize("results", ["bullseye", "collision"])
def test_a_feature_objective_falls_by_a_quarter(results: str, request: pytest.FixtureRequest) -> None:
    for result in request.getfixturevalue(results):
        assert result.history[-1] <= 0.75 * result.history[0]


def test_bullseye_reports_the_distance_that_its_images_have(
    digits: Base, network: Surrogate, bullseye: list[CraftedTrial]
) -> None:
    """Aghakhani et al. (2021), equation 3, computed again from the rounded images."""
    goals = features(network, targets(digits, bullseye))
    for images, goal, result in zip(pictures(bullseye), goals, bullseye, strict=True):
        distance = float((features(network, images).mean(0) - goal).norm() / goal.norm())
        assert distance == pytest.approx(result.history[-1], rel=0.05)
        clean = digits.train.images[list(result.plan.bases)]
        before = float((features(network, clean).mean(0) - goal).norm() / goal.norm())
        assert before == pytest.approx(result.history[0], rel=1e-4)


def test_collision_brings_every_poison_nearer_to_the_target(
    digits: Base, network: Surrogate, collision: list[CraftedTrial]
) -> None:
    goals = features(network, targets(digits, collision))
    for images, goal, result in zip(pictures(collision), goals, collision, strict=True):
        distances = (features(network, images) - goal).square().sum(1)
        before = (features(network, digits.train.images[list(result.plan.bases)]) - goal).square().sum(1)
        assert bool((distances < before).all())
        assert float(distances.mean()) == pytest.approx(result.history[-1], rel=0.05)


@pytest.mark.parametrize("rate", ["0.02", "1000"])
def test_the_line_search_never_accepts_a_rising_loss(digits: Base, weights: Weights, rate: str) -> None:
    """Not even from a first step that is far too long."""
    settings = {"steps": "12", "learning_rate": rate, "growth": "2"}
    for result in crafted(digits, "feature-collision", settings, Surrogates((weights,))):
        assert all(later <= earlier for earlier, later in zip(result.history, result.history[1:], strict=False))
        assert result.history[-1] < result.history[0]


@pytest.mark.parametrize("results", ["bullseye", "collision"])
def test_each_set_lies_nearest_to_its_own_target(
    digits: Base, network: Surrogate, results: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(results)
    goals = features(network, targets(digits, found))
    means = torch.stack([features(network, images).mean(0) for images in pictures(found)])
    nearest = torch.cdist(means, goals).argmin(1)
    assert nearest.tolist() == list(range(len(found)))


def test_noise_moves_nearly_every_value_by_uniform_levels(digits: Base) -> None:
    """On grey bases, where clipping to black or white does not interfere."""
    found = crafted(grey(digits), "noise", {}, Surrogates(), Linf(levels=8))
    delta = pictures(found).astype(np.int64) - 128
    counts = np.bincount(delta.ravel() + 8, minlength=17)
    assert len(counts) == 17
    assert (delta != 0).mean() > 0.92  # 16 of 17 on average
    assert stats.chisquare(counts).pvalue > 0.001
    assert abs(np.corrcoef(delta[:, :, :, :-1].ravel(), delta[:, :, :, 1:].ravel())[0, 1]) < 0.05


def test_l2_noise_fills_its_radius(digits: Base) -> None:
    found = crafted(grey(digits), "noise", {}, Surrogates(), L2(squared_levels=40_000))
    squared = ((pictures(found).astype(np.int64) - 128) ** 2).sum(axis=(2, 3, 4))
    assert squared.max() <= 40_000
    assert squared.min() > 0.99 * 40_000


def grey(base: Base) -> Base:
    """The base with every training image grey, level 128."""
    return replace(base, train=Split(np.full_like(base.train.images, 128), base.train.labels))
