"""Gradient matching, MetaPoison's objective and Sleeper Agent: their papers' facts, on tiny networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from poisonsets.attacks.gradient_matching import gradient_matching
from poisonsets.attacks.metapoison import metapoison
from poisonsets.attacks.sleeper_agent import sleeper_agent
from poisonsets.images import TrainingImages
from poisonsets.interface import Context, Crafted, Task
from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.trial import Linf
from poisonsets.manifests.records.triggers import FixedPlace, PatchTrigger
from poisonsets.methods.gradients import (
    Match,
    cosine,
    gradient_norms,
    margin,
    match_gradient,
    matching_objective,
    weight_gradient,
)
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import Classifier, build

SIDE, POISONS, CLASSES = 12, 6, (3, 7, 8)
ADVERSARIAL, SOURCE = 3, 7
CPU = torch.device("cpu")
STD = (0.25, 0.2, 0.3)


def network(seed: int) -> Classifier:
    generator = torch.Generator().manual_seed(seed)
    built = build("convnet", len(CLASSES), "0.25", ("0.5",) * 3, ("0.25", "0.2", "0.3"), generator=generator)
    built.body.hidden.weight.data *= 4
    return built.eval()


NETWORKS = (network(1), network(2))
SURROGATES: tuple[Surrogate, ...] = tuple(Surrogate(one, CLASSES, CPU) for one in NETWORKS)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3)).astype(np.uint8)
TRAINING = TrainingImages(Split(PIXELS, np.array(CLASSES, dtype=np.int64)[np.arange(40) % 3]), CPU)
IDS = tuple(np.flatnonzero(TRAINING.labels == ADVERSARIAL)[:POISONS].tolist())
BASES = TRAINING.images(IDS)
TARGETS = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(9))
PATCH = np.random.default_rng(1).integers(0, 256, (4, 4, 3)).astype(np.uint8)
TRIGGER = Trigger(PatchTrigger(image="triggers/t.png", place=FixedPlace(row=7, column=7)), PATCH)


def task(**other: object) -> Task:
    plain = Task(
        bases=BASES[None],
        base_ids=(IDS,),
        targets=TARGETS[None],
        labels=torch.full((1, POISONS), ADVERSARIAL),
        adversarial_labels=torch.tensor([ADVERSARIAL]),
        budget=Linf(levels=24),
        source_classes=((SOURCE,),),
        trigger=TRIGGER,
        keep=POISONS,
    )
    return replace(plain, **other)


def context(
    surrogates: tuple[Surrogate, ...] = SURROGATES[:1],
    *,
    training: TrainingImages | None = TRAINING,
    retrain: Callable[[int, Tensor, int], tuple[Surrogate, ...]] | None = None,
    seed: int = 0,
) -> Context:
    generators = (torch.Generator().manual_seed(seed),)
    return Context(surrogates, generators, CPU, lambda done, total: None, True, training, retrain)


def in_units(crafted: Crafted) -> Tensor:
    return (crafted.images[0] - BASES) / torch.tensor(STD).view(1, 3, 1, 1)


QUIET = {"augment": False, "restarts": 1}


# Gradient matching


def test_the_objective_is_one_minus_the_cosine_to_the_mean_loss_of_all_targets() -> None:
    crafted = gradient_matching(steps=1, start="bases", **QUIET)(task(), context())
    one = SURROGATES[0]
    labels = torch.zeros(2, dtype=torch.int64)  # the adversarial label's position
    wanted = weight_gradient(one, TARGETS, labels)
    each = [weight_gradient(one, TARGETS[i : i + 1], labels[:1]) for i in range(2)]
    assert torch.allclose(wanted, (each[0] + each[1]) / 2, atol=1e-6)
    found = weight_gradient(one, BASES, torch.zeros(POISONS, dtype=torch.int64))
    assert crafted.history[0][0] == pytest.approx(1 - float(F.cosine_similarity(wanted, found, dim=0)), rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"matching": "euclidean"}, {"target_loss": "carlini-wagner"}], ids=str)
def test_matching_brings_the_gradients_nearer(settings: dict[str, str]) -> None:
    crafted = gradient_matching(steps=30, start="bases", **QUIET, **settings)(task(), context())
    criterion = margin if "target_loss" in settings else F.cross_entropy
    labels = torch.zeros(POISONS, dtype=torch.int64)
    wanted = weight_gradient(SURROGATES[0], TARGETS, labels[:2], criterion=criterion)
    before, after = (weight_gradient(SURROGATES[0], images, labels) for images in (BASES, crafted.images[0]))
    assert F.cosine_similarity(wanted, after, dim=0) > F.cosine_similarity(wanted, before, dim=0) + 0.05
    assert crafted.history[0][-1] < 0.9 * crafted.history[0][0]


def test_a_training_step_on_the_poisons_lowers_the_targets_loss_more_than_one_on_the_bases() -> None:
    """What matching gradients is for, in one small step."""
    crafted = gradient_matching(steps=40, start="bases", **QUIET)(task(), context())
    labels = torch.zeros(POISONS, dtype=torch.int64)

    def after_step(images: Tensor) -> float:
        one = SURROGATES[0]
        weights = {name: tensor.clone().requires_grad_() for name, tensor in one.weights.items()}
        slopes = torch.autograd.grad(F.cross_entropy(one.logits(images, weights), labels), list(weights.values()))
        length = float(torch.cat([slope.flatten() for slope in slopes]).norm())
        stepped = {
            name: tensor.detach() - 0.01 / length * slope
            for (name, tensor), slope in zip(weights.items(), slopes, strict=True)
        }
        return float(F.cross_entropy(one.logits(TARGETS, stepped), labels[:2]))

    assert after_step(crafted.images[0]) < after_step(BASES)


def test_several_networks_sum_their_gradients_and_report_their_mean() -> None:
    labels = torch.zeros(POISONS, dtype=torch.int64)
    matches = []
    for one in SURROGATES:
        wanted = weight_gradient(one, TARGETS, labels[:2])
        matches.append(Match(one, labels, cosine(wanted)))
    loss, gradient = matching_objective(matches, batch=512).slope(BASES[None])
    each = [match_gradient(one.surrogate, BASES, labels, one.mismatch) for one in matches]
    assert float(loss) == pytest.approx(sum(float(value) for value, _ in each) / 2, rel=1e-5)
    assert torch.allclose(gradient[0], each[0][1] + each[1][1], atol=1e-8)


def test_larger_sets_are_matched_batch_by_batch_in_the_order_of_slots() -> None:
    labels = torch.zeros(POISONS, dtype=torch.int64)
    wanted = weight_gradient(SURROGATES[0], TARGETS, labels[:2])
    match = Match(SURROGATES[0], labels, cosine(wanted))
    loss, gradient = matching_objective([match], batch=4).slope(BASES[None])
    assert float(matching_objective([match], batch=4).loss(BASES[None])) == pytest.approx(float(loss), rel=1e-5)
    first, last = (
        match_gradient(match.surrogate, BASES[part], labels[part], match.mismatch) for part in (slice(4), slice(4, 6))
    )
    assert float(loss) == pytest.approx((float(first[0]) + float(last[0])) / 2, rel=1e-5)
    assert torch.allclose(gradient[0], torch.cat([first[1], last[1]]), atol=1e-8)


@pytest.mark.parametrize(("batch", "surrogates", "size"), [(512, 1, 0.1), (512, 2, 0.05), (128, 2, 0.0125)])
def test_the_first_step_is_the_published_one(batch: int, surrogates: int, size: float) -> None:
    """tau0 = tau * pbatch / 512 / K: .1 for one network, .05 for two, a quarter with batches of 128."""
    unbound = task(budget=Linf(levels=200), bases=BASES[None].clamp(0.2, 0.8))
    craft = gradient_matching(steps=1, start="bases", batch=batch, **QUIET)
    crafted = craft(unbound, context(SURROGATES[:surrogates]))
    moved = ((crafted.images - unbound.bases) / torch.tensor(STD).view(1, 1, 3, 1, 1)).abs()
    assert float(moved.max()) == pytest.approx(size, rel=1e-3)
    assert float((moved > 0.99 * size).float().mean()) > 0.9


def test_against_a_noisy_victim_every_evaluation_has_fresh_noise_of_the_trial() -> None:
    craft = gradient_matching(steps=4, start="bases", noise=0.1, clip=1.0, **QUIET)
    one, again, other = (craft(task(), context(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one.images, again.images)
    assert one.history == again.history
    assert one.history != other.history
    still = gradient_matching(steps=4, start="bases", clip=1e-6, **QUIET)(task(), context())
    plain = gradient_matching(steps=4, start="bases", **QUIET)(task(), context())
    assert torch.equal(still.images, plain.images), "without noise there is no clip"


# MetaPoison


def test_metapoison_measures_the_targets_after_real_training_steps() -> None:
    """Against torch's SGD on a copy of the network."""
    crafted = metapoison(steps=1, unroll=3, inner_learning_rate=0.05, augment=False, restarts=2)(task(), context())
    trained = network(1)
    optimiser = torch.optim.SGD(trained.parameters(), lr=0.05)
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(trained(crafted.images[0]), torch.zeros(POISONS, dtype=torch.int64)).backward()
        optimiser.step()
    loss = F.cross_entropy(trained(TARGETS), torch.zeros(2, dtype=torch.int64))
    assert crafted.history[0][-1] == pytest.approx(float(loss.detach()), rel=1e-4)


def test_metapoison_lowers_the_targets_loss() -> None:
    crafted = metapoison(steps=20, restarts=1, augment=False, inner_learning_rate=0.05)(task(), context())
    assert crafted.history[0][-1] < 0.9 * crafted.history[0][0]


def test_metapoison_draws_clean_images_that_are_no_base() -> None:
    class Watched(TrainingImages):
        asked: list[tuple[int, ...]] = []  # noqa: RUF012 - one test's record

        def resident(self, ids: Tensor) -> tuple[Tensor, Tensor]:
            self.asked.append(tuple(ids.tolist()))
            return super().resident(ids)

    split = Watched(Split(PIXELS, TRAINING.labels), CPU)
    crafted = metapoison(steps=2, restarts=1, clean=5, augment=False)(task(), context(training=split))
    assert len(split.asked) == 3, "of two steps and the end"
    assert len(set(split.asked)) > 1
    for ids in split.asked:
        assert len(set(ids)) == 5
        assert not set(ids) & set(IDS)
    without = metapoison(steps=2, restarts=1, augment=False)(task(), context())
    assert crafted.history != without.history
    with pytest.raises(UsageError, match="clean"):
        metapoison(steps=2, clean=5)(task(), context(training=None))


# Sleeper Agent


def test_the_sources_are_stamped_training_images_of_the_source_classes() -> None:
    crafted = sleeper_agent(steps=1, retraining=0, **QUIET)(task(), context())
    ids = np.flatnonzero(TRAINING.labels == SOURCE).tolist()
    wanted = weight_gradient(SURROGATES[0], TRAINING.stamped(ids, TRIGGER), torch.zeros(len(ids), dtype=torch.int64))
    labels = torch.zeros(POISONS, dtype=torch.int64)
    found = weight_gradient(SURROGATES[0], crafted.images[0], labels)
    assert crafted.history[0][-1] == pytest.approx(float(cosine(wanted)(found)[0]), rel=1e-4)


def test_fewer_sources_are_drawn_by_the_trial() -> None:
    craft = sleeper_agent(steps=1, retraining=0, sources=3, **QUIET)
    one, other = craft(task(), context()), craft(task(), context(seed=1))
    assert one.history != other.history
    with pytest.raises(UsageError, match="source classes"):
        craft(task(source_classes=((99,),)), context())


def test_the_candidates_with_the_longest_gradients_become_poisons() -> None:
    crafted = sleeper_agent(steps=3, retraining=0, **QUIET)(task(keep=2), context())
    norms = gradient_norms(SURROGATES[0], BASES, torch.zeros(POISONS, dtype=torch.int64))
    assert crafted.kept is not None
    kept = crafted.kept[0].tolist()
    assert sorted(norms.topk(2).indices.tolist()) == kept
    others = [slot for slot in range(POISONS) if slot not in kept]
    assert torch.equal(crafted.images[0, others], BASES[others])
    assert bool((crafted.images[0, kept] != BASES[kept]).flatten(1).any(1).all())
    first = sleeper_agent(steps=1, retraining=0, selection="none", **QUIET)(task(keep=2), context())
    assert first.kept is not None
    assert first.kept.tolist() == [[0, 1]]


def test_networks_are_retrained_evenly_on_the_poisons_as_they_stand() -> None:
    told: list[tuple[int, int]] = []
    given: list[Tensor] = []

    def retrain(position: int, images: Tensor, times: int) -> tuple[Surrogate, ...]:
        told.append((position, times))
        given.append(images.clone())
        return SURROGATES[1:]

    craft = sleeper_agent(steps=10, retraining=4, restarts=2, augment=False)
    crafted = craft(task(keep=3), context(retrain=retrain))
    assert told == [(0, times) for times in range(8)], "after 2, 4, 6 and 8 of 10 steps, in both restarts"
    assert crafted.kept is not None
    kept = crafted.kept[0].tolist()
    others = [slot for slot in range(POISONS) if slot not in kept]
    for images in given:
        assert torch.equal(images[others], BASES[others])
        assert not torch.equal(images[kept], BASES[kept])
    assert not torch.equal(given[0], given[1])


def test_each_value_of_the_history_is_that_of_the_networks_of_its_moment() -> None:
    crafted = sleeper_agent(steps=4, retraining=1, **QUIET)(
        task(), context(retrain=lambda position, images, times: SURROGATES[1:])
    )
    alone = sleeper_agent(steps=2, retraining=0, **QUIET)(task(), context())
    assert crafted.history[0][:2] == alone.history[0][:2]
    ids = np.flatnonzero(TRAINING.labels == SOURCE).tolist()
    wanted = weight_gradient(SURROGATES[1], TRAINING.stamped(ids, TRIGGER), torch.zeros(len(ids), dtype=torch.int64))
    found = weight_gradient(SURROGATES[1], crafted.images[0], torch.zeros(POISONS, dtype=torch.int64))
    assert crafted.history[0][-1] == pytest.approx(float(cosine(wanted)(found)[0]), rel=1e-4)


def test_sleeper_agent_refuses_what_it_cannot_do_without() -> None:
    with pytest.raises(UsageError, match="retrained"):
        sleeper_agent(steps=2, retraining=1)(task(), context())
    with pytest.raises(UsageError, match="trigger"):
        sleeper_agent(steps=2, retraining=0)(task(trigger=None), context())
