from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import weights_digest
from poisonsets.victims.training.adversarial import Adversary, adversary_of, attacked
from poisonsets.victims.training.labels import images_of
from poisonsets.victims.training.pretrain import TrainedNetwork, accuracy, provenance, train_network, training_images
from poisonsets.victims.training.pretraining import Pretraining

CPU = torch.device("cpu")
PLAIN = Pretraining("convnet", (0, 1, 3), epochs=8, width="0.25", batch=16, learning_rate="0.05", pad=0)
ROBUST = replace(PLAIN, adversary=64, adversary_steps=3, adversary_step="30")
STRONG = Adversary(64 / 255, 10, 12 / 255)


@pytest.fixture(scope="module")
def robust(tiny_base: Base) -> TrainedNetwork:
    return train_network(ROBUST, tiny_base, device=CPU)


def survivors(trained: TrainedNetwork, base: Base) -> int:
    return accuracy(trained.network, *images_of(base.test, PLAIN.classes), device=CPU, adversary=STRONG)[0]


def test_adversarial_training_makes_a_network_harder_to_attack(tiny_base: Base, robust: TrainedNetwork) -> None:
    plain = train_network(PLAIN, tiny_base, device=CPU)
    assert (plain.correct, plain.images) == (30, 30)
    assert robust.correct >= 27
    assert survivors(robust, tiny_base) >= survivors(plain, tiny_base) + 8


def test_equal_recipes_give_equal_robust_networks(tiny_base: Base, robust: TrainedNetwork) -> None:
    again = train_network(ROBUST, tiny_base, device=CPU)
    assert weights_digest(again.network) == weights_digest(robust.network)
    assert provenance(tiny_base, again) == provenance(tiny_base, robust)


def test_provenance_counts_what_the_recipes_adversary_leaves(tiny_base: Base, robust: TrainedNetwork) -> None:
    said = provenance(tiny_base, robust)
    assert said["robust"] == robust.robust
    assert 0 < said["robust"] <= said["correct"]
    assert "robust" not in provenance(tiny_base, replace(robust, robust=None))


def test_examples_are_in_the_ball_and_the_network_as_it_was() -> None:
    network = build("convnet", 3, "0.25", ("0", "0", "0"), ("1", "1", "1"))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    adversary = adversary_of(ROBUST)
    assert adversary is not None

    def made(seed: int) -> torch.Tensor:
        return attacked(network, images, labels, adversary, torch.Generator().manual_seed(seed))

    found = made(0)
    assert float((found - images).abs().max()) <= 64 / 255 + 1e-6
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert torch.equal(found, made(0))
    assert not torch.equal(found, made(1)), "the start is random"
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": "0.25"},
        {"images": 30},
        {"adversary": 65},
        {"adversary_steps": 4},
        {"adversary_step": "24"},
        {"adversary": 0, "adversary_steps": 0, "adversary_step": "0"},
    ],
    ids=str,
)
def test_every_setting_matters(tiny_base: Base, change: dict[str, object]) -> None:
    short = replace(ROBUST, epochs=1)
    changed = replace(short, **change)
    assert changed.digest("base") != short.digest("base")
    one, other = (train_network(pretraining, tiny_base, device=CPU).network for pretraining in (short, changed))
    assert weights_digest(one) != weights_digest(other)


def test_dropout_is_the_same_every_time_and_touches_no_global_state(tiny_base: Base) -> None:
    pretraining, state = replace(PLAIN, epochs=1, dropout="0.5"), torch.get_rng_state()
    one, other = (train_network(pretraining, tiny_base, device=CPU).network for _ in range(2))
    assert weights_digest(one) == weights_digest(other)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_first_images_of_each_class_are_used(tiny_base: Base) -> None:
    images, labels = training_images(replace(PLAIN, images=15), tiny_base)
    every, positions = images_of(tiny_base.train, PLAIN.classes)
    assert np.bincount(labels).tolist() == [5, 5, 5]
    for position in range(3):
        wanted = every[positions == position][:5]
        assert np.array_equal(images[labels == position], wanted)
    assert np.array_equal(training_images(replace(PLAIN, images=60), tiny_base)[0], every)


def test_more_images_than_a_class_has_are_refused(tiny_base: Base) -> None:
    with pytest.raises(UsageError, match="20 training images of class 0, the pretraining asks for 21"):
        train_network(replace(PLAIN, images=63), tiny_base, device=CPU)
