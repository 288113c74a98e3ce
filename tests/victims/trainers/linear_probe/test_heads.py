"""Many heads at once are the heads of the published loop, each on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from plain_transfer import calibrated, features_of, numbered, published_head, train_head, training_images
from torch import Tensor, nn

from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.trainers.linear_probe import heads
from poisonsets.victims.trainers.linear_probe.draws import Draws, draw
from poisonsets.victims.trainers.linear_probe.heads import HeadPlan, head_plan, train_heads
from poisonsets.victims.trainers.victim_pair import victim_generator
from poisonsets.victims.training.views import as_input

CLASSES, POISONS, TRIALS = 5, 10, 3
PROTOCOL = parse(
    "cifar10-transfer/resnet18@size=250,epochs=8,lr_milestones=6,batch=32,learning_rate=0.03,width=0.125,pad=2"
)


@dataclass(frozen=True)
class Case:
    """A base of 250 images in five classes, some trials, and everything a victim draws."""

    network: Classifier
    images: Images
    tests: Tensor
    poisons: tuple[Images, ...]
    rows: tuple[TrainingRows, ...]
    draws: tuple[Draws, ...]

    def labels(self, trial: int) -> Tensor:
        return torch.from_numpy(self.rows[trial].label)

    def logits(self, network: Classifier, head: nn.Linear) -> Tensor:
        with torch.no_grad():
            return head(network.features(as_input(self.tests)))


TINTS = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)], dtype=np.uint8)


def pictures(generator: np.random.Generator, labels: np.ndarray[Any, Any]) -> Images:
    """Noise in the colour of the class."""
    noise = generator.integers(0, 150, (len(labels), 16, 16, 3), dtype=np.uint8)
    return noise + 70 * TINTS[labels][:, None, None]


@cache
def case() -> Case:
    generator = np.random.default_rng(7)
    labels = np.repeat(np.arange(CLASSES), 50)
    images = pictures(generator, labels)
    normal = (("0.4", "0.4", "0.4"), ("0.2", "0.2", "0.2"))
    untrained = build("resnet18", CLASSES, "0.125", *normal, generator=torch.Generator().manual_seed(1))
    network = calibrated(untrained, images)
    poisons, rows, draws = [], [], []
    for trial in range(TRIALS):
        slots = np.full(250, -1)
        slots[50 * trial : 50 * trial + POISONS] = np.arange(POISONS)
        rows.append(TrainingRows(np.arange(250), slots, labels))
        poisons.append(pictures(generator, np.full(POISONS, 4)))
        seeded = victim_generator(trial, rows[-1])
        draws.append(draw(PROTOCOL, seeded, rows=250, features=network.feature_width, classes=CLASSES))
    tests = torch.from_numpy(pictures(generator, np.tile(np.arange(CLASSES), 50)))
    return Case(network, images, tests, tuple(poisons), tuple(rows), tuple(draws))


@cache
def published() -> tuple[Tensor, ...]:
    """The logits of each trial's victim, trained through the whole network as it is."""
    one = case()
    trained = (
        published_head(
            one.network,
            training_images(one.rows[i], one.images, one.poisons[i]),
            one.labels(i),
            one.draws[i],
            PROTOCOL,
        )
        for i in range(TRIALS)
    )
    return tuple(one.logits(one.network, head) for head in trained)


def caches(dtype: torch.dtype) -> tuple[FeatureCache, FeatureCache]:
    """Those of the clean images, and of the poisons of all trials."""
    one = case()
    frozen = folded(one.network)
    clean, poisons = (
        FeatureCache(frozen, torch.from_numpy(images), pad=2, flip=True, dtype=dtype)
        for images in (one.images, np.concatenate(one.poisons))
    )
    return clean, poisons


def of_trial(trial: int) -> FeatureCache:
    """The poisons of one trial."""
    return FeatureCache(folded(case().network), torch.from_numpy(case().poisons[trial]), pad=2, flip=True)


def plans() -> list[HeadPlan]:
    one = case()
    return [
        head_plan(one.rows[i], one.labels(i), one.draws[i], views=50, first_slot=POISONS * i) for i in range(TRIALS)
    ]


def margins(logits: Tensor) -> Tensor:
    best = logits.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-5), (torch.float16, 1e-3)], ids=str)
def test_heads_are_those_of_the_plain_loops(dtype: torch.dtype, allowed: float) -> None:
    one = case()
    clean, poisons = caches(dtype)
    trained = train_heads(plans(), clean, poisons, PROTOCOL)
    exact, _ = caches(torch.float32)
    for i, head in enumerate(trained):
        reference = train_head(features_of(one.rows[i], exact, of_trial(i)), one.labels(i), one.draws[i], PROTOCOL)
        found = one.logits(clean.network, head)
        for wanted in (published()[i], one.logits(clean.network, reference)):
            limit = allowed * float(wanted.std())
            assert float((found - wanted).abs().max()) <= limit
            sure = margins(wanted) > (0 if dtype == torch.float32 else limit)
            assert torch.equal(found.argmax(1)[sure], wanted.argmax(1)[sure])
            assert sure.float().mean() > 0.9
    # The draws differ, and so do the heads: nobody got another's.
    assert (trained[0].weight - trained[1].weight).abs().max() > 0.01


def test_heads_of_clean_rows_and_of_poisons_alone() -> None:
    one = case()
    clean, poisons = caches(torch.float32)
    control = TrainingRows(one.rows[0].base, np.full(250, -1), one.rows[0].label)
    lonely = TrainingRows(np.full(POISONS, -1), np.arange(POISONS), np.arange(POISONS) % CLASSES)
    short = draw(PROTOCOL, victim_generator(9, lonely), rows=POISONS, features=64, classes=CLASSES)
    labels = torch.from_numpy(lonely.label)
    alone = head_plan(lonely, labels, short, views=50, first_slot=POISONS)
    (first,) = train_heads([alone], clean, poisons, PROTOCOL)
    clean_plan = head_plan(control, one.labels(0), one.draws[0], views=50)
    # Sets of unequal length in one call.
    found = train_heads([clean_plan, alone], clean, poisons, PROTOCOL)
    assert torch.equal(found[1].weight, first.weight)
    for head, rows, draws, own in ((found[0], control, one.draws[0], None), (first, lonely, short, of_trial(1))):
        wanted = train_head(features_of(rows, clean, own), torch.from_numpy(rows.label), draws, PROTOCOL)
        torch.testing.assert_close(head.weight, wanted.weight, rtol=1e-4, atol=1e-6)


def drawn(width: int, classes: int, images: int, count: int, protocol: Protocol) -> tuple[list[HeadPlan], FeatureCache]:
    """Plans for `count` heads on images that are numbers."""
    clean = numbered(images, width)
    base = np.arange(images)
    rows = TrainingRows(base, np.full(images, -1), base % classes)
    found = []
    for seed in range(count):
        draws = draw(protocol, victim_generator(seed, rows), rows=images, features=width, classes=classes)
        found.append(head_plan(rows, torch.from_numpy(rows.label), draws, views=1))
    return found, clean


@pytest.mark.parametrize(
    ("width", "classes", "images", "batch"),
    [(64, 10, 250, 128), (33, 2, 50, 16), (7, 3, 21, 5), (512, 10, 100, 64), (17, 5, 30, 29)],
)
def test_a_head_does_not_depend_on_its_company(width: int, classes: int, images: int, batch: int) -> None:
    """Bit for bit, at any place in a block of any size, and where a block is filled up."""
    protocol = replace(PROTOCOL, epochs=2, lr_milestones=(1,), batch=batch, pad=0, flip=False)
    made, clean = drawn(width, classes, images, 27, protocol)
    together = train_heads(made, clean, None, protocol)
    groupings: list[Callable[[], list[nn.Linear]]] = [
        lambda: [train_heads([plan], clean, None, protocol)[0] for plan in made],
        lambda: train_heads(made[::-1], clean, None, protocol)[::-1],
        lambda: train_heads(made[:4], clean, None, protocol) + train_heads(made[4:], clean, None, protocol),
        lambda: train_heads(made[:3], clean, None, protocol, least=25) + train_heads(made[3:], clean, None, protocol),
    ]
    for grouping in groupings:
        for found, wanted in zip(grouping(), together, strict=True):
            assert torch.equal(found.weight, wanted.weight)
            assert torch.equal(found.bias, wanted.bias)


def test_a_block_never_holds_more_heads_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = replace(PROTOCOL, epochs=1, lr_milestones=(), pad=0, flip=False)
    made, clean = drawn(8, 2, 12, 53, protocol)
    sizes: list[int] = []
    inner = heads._trained
    monkeypatch.setattr(heads, "_trained", lambda block, *rest: sizes.append(len(block)) or inner(block, *rest))
    assert len(train_heads(made, clean, None, protocol)) == 53
    assert sizes == [25, 25, 3]
    train_heads(made, clean, None, protocol, least=25)
    assert sizes[3:] == [25, 25, 25]


def test_a_head_that_diverges_spoils_no_other() -> None:
    protocol = replace(PROTOCOL, epochs=2, lr_milestones=(), pad=0, flip=False)
    made, clean = drawn(16, 3, 20, 3, protocol)
    alone = train_heads([made[0], made[2]], clean, None, protocol)
    broken = replace(made[1], weight=torch.full_like(made[1].weight, float("inf")))
    found = train_heads([made[0], broken, made[2]], clean, None, protocol)
    assert not torch.isfinite(found[1].weight).all()
    assert torch.equal(found[0].weight, alone[0].weight)
    assert torch.equal(found[2].weight, alone[1].weight)


def test_the_global_state_and_the_plans_are_left_alone() -> None:
    made, clean = drawn(16, 3, 20, 3, replace(PROTOCOL, pad=0, flip=False))
    before, state = [plan.weight.clone() for plan in made], torch.get_rng_state()
    train_heads(made, clean, None, PROTOCOL)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(plan.weight, weight) for plan, weight in zip(made, before, strict=True))
