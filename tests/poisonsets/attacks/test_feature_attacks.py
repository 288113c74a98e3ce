"""What the feature attacks compute, against the same thing written down plainly, and what their settings change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from poisonsets import attacks
from poisonsets.attacks.bullseye_polytope import distance_from
from poisonsets.budget import project
from poisonsets.interface import Budget, Context, Crafted, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.trial import Linf, Unconstrained
from poisonsets.methods.features import FeatureSpec
from poisonsets.methods.hull import HullDistance, collisions
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import build

TRIALS, POISONS, SIDE = 2, 6, 16
CPU = torch.device("cpu")
SIXTEEN = Linf(levels=16)
FRAME: dict[str, Any] = {"optimiser": "signed-adam", "restarts": 2, "augment": True, "learning_rate": 0.1}


def network(seed: int) -> Surrogate:
    """An untrained ResNet-18 of 4 channels."""
    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.2", "0.3"))
    built = build("resnet18", 2, "0.0625", *normal, generator=torch.Generator().manual_seed(seed))
    return Surrogate(built, (0, 1), CPU)


NETWORKS = (network(1), network(2))


def pictures(trials: int, count: int, *, seed: int, noise: float = 0.1) -> Tensor:
    """float32 [trials, count, 3, SIDE, SIDE]: each trial has a smooth pattern, its images differ by noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(trials, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    grain = torch.randn(trials, count, 3, SIDE, SIDE, generator=generator)
    return (smooth[:, None] + noise * grain).clamp(0, 1)


BASES, TARGETS, OTHERS = pictures(TRIALS, POISONS, seed=0), pictures(TRIALS, 1, seed=1), pictures(TRIALS, 1, seed=2)


def craft(
    attack: str,
    settings: dict[str, Any] | None = None,
    *,
    budget: Budget = SIXTEEN,
    targets: Tensor = TARGETS,
    trials: Sequence[int] = range(TRIALS),
    networks: tuple[Surrogate, ...] = NETWORKS[:1],
    seed: int = 0,
) -> Crafted:
    chosen = list(trials)
    task = Task(
        bases=BASES[chosen],
        base_ids=tuple(tuple(range(POISONS)) for _ in chosen),
        targets=targets[chosen],
        labels=torch.zeros(len(chosen), POISONS, dtype=torch.int64),
        adversarial_labels=torch.zeros(len(chosen), dtype=torch.int64),
        budget=budget,
    )
    generators = tuple(torch.Generator().manual_seed(100 * seed + trial) for trial in chosen)
    context = Context(networks, generators, CPU, lambda done, total: None, mirror=True)
    return attacks.find(attack).factory(**{"steps": 12, **(settings or {})})(task, context)


def features(images: Tensor, net: Surrogate = NETWORKS[0]) -> Tensor:
    """float32 [T, P, D] without a gradient."""
    with torch.no_grad():
        return net.features(images.flatten(0, 1)).view(*images.shape[:2], -1)


def moved(crafted: Crafted) -> Tensor:
    """bool [T, P]: which poisons are not their bases at 8 bits."""
    return (torch.round(crafted.images * 255) != torch.round(BASES * 255)).flatten(2).any(2)


# Bullseye polytope


def published_bullseye(trial: int, steps: int) -> Tensor:
    """The authors' loop for one trial: Adam on normalised images, parameters of one network, no block."""
    net, bases = NETWORKS[0], BASES[trial]
    goal = features(TARGETS[trial : trial + 1])[0, 0]
    normalised = ((bases - net.mean) / net.std).requires_grad_()
    optimiser = torch.optim.Adam([normalised], lr=0.04, betas=(0.9, 0.999))
    for _ in range(steps):
        loss = (net.features(normalised * net.std + net.mean).mean(0) - goal).norm() / goal.norm()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            pixels = project(normalised * net.std + net.mean, bases, SIXTEEN)
            normalised.copy_((pixels - net.mean) / net.std)
    return (normalised * net.std + net.mean).detach()


def test_bullseye_is_the_published_method() -> None:
    crafted = craft("bullseye-polytope", {"steps": 4})
    for trial in range(TRIALS):
        assert float((crafted.images[trial] - published_bullseye(trial, 4)).abs().max()) < 1 / 255


def test_bullseye_draws_each_set_to_its_own_target() -> None:
    one, other = craft("bullseye-polytope"), craft("bullseye-polytope", targets=OTHERS)
    assert all(float((a - b).abs().mean()) > 1 / 255 for a, b in zip(one.images, other.images, strict=True))
    for crafted, targets, elsewhere in ((one, TARGETS, OTHERS), (other, OTHERS, TARGETS)):
        after = distance_from(features(targets))(features(crafted.images))
        assert bool((after < 0.6 * distance_from(features(targets))(features(BASES))).all())
        assert bool((after < distance_from(features(elsewhere))(features(crafted.images))).all())
        assert [curve[-1] for curve in crafted.history] == pytest.approx(after.tolist(), rel=1e-4)


def test_the_losses_of_networks_and_of_targets_are_averaged() -> None:
    both = torch.cat([TARGETS, OTHERS], dim=1)
    for attack in ("bullseye-polytope", "convex-polytope"):
        first = [
            [curve[0] for curve in craft(attack, {"steps": 1}, networks=(net,), targets=targets).history]
            for net in NETWORKS
            for targets in (TARGETS, OTHERS)
        ]
        together = craft(attack, {"steps": 1}, networks=NETWORKS, targets=both)
        wanted = torch.tensor(first).mean(0).tolist()
        assert [curve[0] for curve in together.history] == pytest.approx(wanted, rel=1e-5)


def test_end_to_end_bullseye_measures_every_position_of_the_map() -> None:
    crafted = craft("bullseye-polytope", {"end_to_end": True})
    with torch.no_grad():
        maps, vectors = NETWORKS[0].stages(BASES[0])
        goal_map, goal = NETWORKS[0].stages(TARGETS[0])
    ratios = [
        float(
            (maps[:, :, row, column].mean(0) - goal_map[0, :, row, column]).norm() / goal_map[0, :, row, column].norm()
        )
        for row in range(maps.shape[2])
        for column in range(maps.shape[3])
    ]
    penultimate = float((vectors.mean(0) - goal[0]).norm() / goal[0].norm())
    assert crafted.history[0][0] == pytest.approx((sum(ratios) / len(ratios) + penultimate) / 2, rel=1e-4)
    assert all(curve[-1] < 0.9 * curve[0] for curve in crafted.history)


def test_a_dead_position_of_the_targets_map_does_not_swamp_the_loss() -> None:
    maps = torch.rand(1, 3, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    goals = torch.ones(1, 1, 5, 2, 2)
    goals[..., 0, 0] = 0
    assert float(distance_from(goals)(maps)) < 1000


def test_views_of_a_target_change_what_is_aimed_at() -> None:
    plain, viewed = craft("bullseye-polytope"), craft("bullseye-polytope", {"views": 3})
    again, other = craft("bullseye-polytope", {"views": 3}), craft("bullseye-polytope", {"views": 3}, seed=1)
    assert torch.equal(viewed.images, again.images)
    assert viewed.history[0][0] not in (plain.history[0][0], other.history[0][0])


# Dropout


@pytest.mark.parametrize("attack", ["bullseye-polytope", "convex-polytope"])
def test_dropout_is_drawn_from_the_trials_own_generator(attack: str) -> None:
    settings = {"dropout": 0.25, "draws": 2, "steps": 3}
    state = torch.get_rng_state()
    one, again, other = craft(attack, settings), craft(attack, settings), craft(attack, settings, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.images, again.images)
    assert one.history[0][0] != other.history[0][0]
    alone = craft(attack, settings, trials=[1])
    assert alone.history[0] == pytest.approx(one.history[1], rel=1e-4)
    assert one.history[0][0] != craft(attack, {"steps": 3}).history[0][0]


def test_draws_are_averaged_before_the_loss() -> None:
    net = NETWORKS[0]
    singles = [torch.Generator().manual_seed(trial) for trial in range(TRIALS)]
    read = [FeatureSpec(dropout=0.3).read(net, BASES, singles)[0] for _ in range(3)]
    fresh = [torch.Generator().manual_seed(trial) for trial in range(TRIALS)]
    (averaged,) = FeatureSpec(dropout=0.3, draws=3).read(net, BASES, fresh)
    assert not torch.equal(read[0], read[1])
    assert torch.allclose(averaged, torch.stack(read).mean(0), rtol=1e-5, atol=1e-6)


# Convex polytope


def test_convex_polytope_moves_fewer_poisons_than_bullseye() -> None:
    polytope, bullseye = craft("convex-polytope"), craft("bullseye-polytope")
    assert bool(moved(bullseye).all())
    assert bool((moved(polytope).sum(1) < POISONS).all())
    assert bool(moved(polytope).any(1).all())
    assert all(curve[-1] < 0.7 * curve[0] for curve in polytope.history)


def hull_distance(rows: Tensor, goal: Tensor) -> float:
    """The convex polytope's loss from its definition, with scipy's coefficients."""
    points, aim = rows.double().numpy(), goal.double().numpy()
    found = minimize(
        lambda c: float(((c @ points - aim) ** 2).sum() / (aim**2).sum()) / 2,
        torch.full((len(points),), 1 / len(points)).numpy(),
        bounds=[(0, 1)] * len(points),
        constraints={"type": "eq", "fun": lambda c: c.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(found.fun)


def test_convex_polytope_reports_the_distance_that_its_images_have() -> None:
    crafted = craft("convex-polytope", networks=NETWORKS)
    for trial in range(TRIALS):
        for step, images in ((0, BASES), (-1, crafted.images)):
            wanted = [hull_distance(features(images, net)[trial], features(TARGETS, net)[trial, 0]) for net in NETWORKS]
            assert crafted.history[trial][step] == pytest.approx(sum(wanted) / 2, rel=5e-3, abs=1e-7)


def test_the_coefficients_are_constants_of_the_gradient() -> None:
    rows, goals = features(BASES).requires_grad_(), features(TARGETS)
    (gradient,) = torch.autograd.grad(HullDistance(goals)(rows).sum(), rows)
    residuals = gradient.norm(dim=2) / gradient.norm(dim=2).amax(1, keepdim=True)
    assert bool((residuals == 0).any(1).all()), "every poison has a coefficient"
    lines = torch.nn.functional.normalize(gradient[residuals > 0], dim=1)
    counts = (residuals > 0).sum(1).tolist()
    for of_trial in lines.split(counts):
        assert float((of_trial @ of_trial[0]).min()) > 1 - 1e-5, "poisons of one trial share the residual's direction"


def test_the_published_end_to_end_form_collides_every_poison_alone() -> None:
    """The broadcast that the authors' code does to penultimate features, for whatever coefficients."""
    rows, goals = features(BASES)[0], features(TARGETS)[0]
    coefficients = torch.softmax(torch.arange(POISONS, dtype=torch.float32), dim=0)[:, None]
    residual = goals - (coefficients.unsqueeze(2).unsqueeze(3) * rows).sum(0, keepdim=True)
    slip = 0.5 * residual.square().sum() / goals.square().sum()
    assert float(collisions(goals[None], rows[None])) == pytest.approx(float(slip), rel=1e-5)


def test_end_to_end_forms_add_the_map_to_different_penultimate_terms() -> None:
    forms = ("off", "corrected", "published")
    first = {form: [h[0] for h in craft("convex-polytope", {"end_to_end": form}).history] for form in forms}
    with torch.no_grad():
        maps, goals = (NETWORKS[0].stages(images.flatten(0, 1))[0] for images in (BASES, TARGETS))
    of_maps = HullDistance(goals.reshape(TRIALS, 1, -1))(maps.reshape(TRIALS, POISONS, -1))
    alone = collisions(features(TARGETS), features(BASES))
    assert first["corrected"] == pytest.approx((of_maps + torch.tensor(first["off"])).tolist(), rel=1e-4)
    assert first["published"] == pytest.approx((of_maps + alone).tolist(), rel=1e-4)
    assert all(a > 1.1 * b for a, b in zip(first["published"], first["corrected"], strict=True))


# Feature collision


def published_collision(base: Tensor, target: Tensor, *, steps: int, rate: float, penalty: float = 0.0) -> Tensor:
    """The benchmark's search for one poison, which compares the same two losses over and over once one has risen."""
    net = NETWORKS[0]
    goal = features(target[None, None])[0]
    image, last = 0.3 * target + 0.7 * base, float("inf")
    for _ in range(steps):
        leaf = image[None].clone().requires_grad_()
        near = (net.features(leaf) - goal).square().sum()
        (gradient,) = torch.autograd.grad(near, leaf)
        loss = float(near.detach()) + penalty * float((image - base).square().sum())
        if loss > last:
            rate *= 0.2
            continue
        last = loss
        forward = image - rate * gradient[0]
        image = project((forward + rate * penalty * base) / (1 + rate * penalty), base, SIXTEEN)
    return image


@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_the_published_search_is_the_benchmarks(penalty: float) -> None:
    settings = {"line_search": "published", "learning_rate": 0.5, "penalty": penalty, "tolerance": 0.0}
    crafted = craft("feature-collision", settings)
    for trial in range(TRIALS):
        for poison in range(POISONS):
            wanted = published_collision(BASES[trial, poison], TARGETS[trial, 0], steps=12, rate=0.5, penalty=penalty)
            assert float((crafted.images[trial, poison] - wanted).abs().max()) < 1e-4


class Linear:
    """A surrogate of linear features, on which the watermark start is certainly nearer to the target than its
    projection: 49 % of the base's squared distance."""

    mean = torch.zeros(1, 3, 1, 1)
    std = torch.ones(1, 3, 1, 1)

    def __init__(self) -> None:
        self.matrix = torch.randn(3 * SIDE * SIDE, 20, generator=torch.Generator().manual_seed(0)) / 28

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.matrix


def test_the_published_search_freezes_where_the_fixed_one_does_not() -> None:
    settings = {"learning_rate": 0.02, "steps": 30}
    net: Any = Linear()
    fixed, published = (
        craft("feature-collision", {"line_search": form, **settings}, networks=(net,))
        for form in ("fixed", "published")
    )
    one_step = craft("feature-collision", {**settings, "line_search": "published", "steps": 1}, networks=(net,))
    assert torch.equal(published.images, one_step.images)
    assert all(len(curve) == 2 and curve[1] > curve[0] for curve in published.history)
    assert all(a[-1] < 0.9 * b[-1] for a, b in zip(fixed.history, published.history, strict=True))


@pytest.mark.parametrize("form", ["fixed", "published"])
def test_a_curve_ends_at_the_loss_of_the_returned_images(form: str) -> None:
    crafted = craft("feature-collision", {"line_search": form, "learning_rate": 0.5, "penalty": 0.05})
    apart = (features(crafted.images) - features(TARGETS)).square().sum(2)
    length = (crafted.images - BASES).square().flatten(2).sum(2)
    wanted = (apart + 0.05 * length).mean(1).tolist()
    assert [curve[-1] for curve in crafted.history] == pytest.approx(wanted, rel=1e-4)


def test_a_penalty_keeps_poisons_near_their_bases_without_any_budget() -> None:
    lengths = [
        (craft("feature-collision", {"penalty": beta, "learning_rate": 0.5}, budget=Unconstrained()).images - BASES)
        .flatten(2)
        .norm(dim=2)
        for beta in (0.001, 0.1, 100.0)
    ]
    assert bool((lengths[0] > lengths[1]).all())
    assert bool((lengths[1] > lengths[2]).all())
    assert float(lengths[2].max()) < 0.05 * float(lengths[0].min())


class Counting:
    """A surrogate that counts the images it sees."""

    def __init__(self, inner: Surrogate) -> None:
        self.inner = inner
        self.seen = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def features(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.inner.features(images)


@pytest.mark.parametrize("form", ["fixed", "published"])
def test_finished_poisons_cost_no_pass(form: str) -> None:
    settings = {"line_search": form, "learning_rate": 0.5, "tolerance": 0.05, "steps": 30}
    together = Counting(NETWORKS[0])
    crafted = craft("feature-collision", settings, networks=(together,))
    assert together.seen < 0.7 * TRIALS * POISONS * 31
    alone = [Counting(NETWORKS[0]) for _ in range(TRIALS)]
    parts = [craft("feature-collision", settings, networks=(alone[i],), trials=[i]) for i in range(TRIALS)]
    assert sum(one.seen for one in alone) == pytest.approx(together.seen, rel=0.05)
    for part, images in zip(parts, crafted.images, strict=True):
        assert float((part.images[0] - images).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"restarts": 2}, "restarts=2"), ({"augment": True}, "augment=true"), ({**FRAME, "penalty": 0.1}, "penalty=0.1")],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        attacks.find("feature-collision").factory(**settings)


# The frame of Witches' Brew


@pytest.mark.parametrize("attack", ["bullseye-polytope", "convex-polytope", "feature-collision"])
def test_every_feature_objective_runs_in_the_frame_of_witches_brew(attack: str) -> None:
    score: dict[str, Callable[[Tensor], Tensor]] = {
        "bullseye-polytope": lambda images: distance_from(features(TARGETS))(features(images)),
        "convex-polytope": lambda images: HullDistance(features(TARGETS))(features(images)),
        "feature-collision": lambda images: (features(images) - features(TARGETS)).square().sum(2).mean(1),
    }
    one, again, other = craft(attack, FRAME), craft(attack, FRAME), craft(attack, FRAME, seed=1)
    assert torch.equal(one.images, again.images)
    assert all(not torch.equal(a, b) for a, b in zip(one.images, other.images, strict=True))
    assert bool(moved(one).all())
    assert float((one.images - BASES).abs().max()) <= 16 / 255 + 1e-6
    assert bool((score[attack](one.images) < 0.9 * score[attack](BASES)).all())


def test_collision_by_adam_minimises_the_same_objective_with_its_penalty() -> None:
    settings = {"optimiser": "adam", "learning_rate": 0.04, "penalty": 0.01}
    crafted = craft("feature-collision", settings)
    apart = (features(crafted.images) - features(TARGETS)).square().sum(2)
    wanted = (apart + 0.01 * (crafted.images - BASES).square().flatten(2).sum(2)).mean(1).tolist()
    assert [curve[-1] for curve in crafted.history] == pytest.approx(wanted, rel=1e-4)
    assert all(curve[-1] < 0.9 * curve[0] for curve in crafted.history)
