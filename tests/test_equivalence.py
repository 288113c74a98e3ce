"""Our scorer and feature attacks do the published benchmark's work: a plain loop of it ends where they end.

Nothing is shared with that loop but the weights and the drawn trials; it draws its own random numbers, so the two sides
of a score agree as two victims of different seeds do, and the bounds are taken from how far the loop's own seeds
differ. They tell a victim without the poisons, without momentum or without padding from ours; finer faults of its
training show where `plain_transfer` repeats our draws. `tests/equivalence.py` prints the same comparison for any base.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.case_feature_attacks import plain_network
from equivalence import Attack, attacks, crafted, scored

from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw, craft_request
from poisonsets.manifests.bases.dataset import Base
from poisonsets.surrogates import Surrogates
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.training.pretrain import fitted_network
from poisonsets.victims.training.pretraining import Pretraining
from poisonsets.victims.training.views import as_input

WIDTH = "0.25"
# The benchmark's settings on fewer images.
PROTOCOL = parse(f"digits-transfer/convnet@flip=true,size=60,width={WIDTH}")
TRIALS, SEEDS, POISONS, LEVELS = 5, 3, 6, 16
ATTACKS = attacks(bullseye=20, polytope=6, collision=12, rate=0.005)


@pytest.fixture(scope="module")
def base(digits: Base) -> Base:
    """Digits that may be mirrored, so that the loop's every step is in use."""
    return replace(digits, mirror=True)


@pytest.fixture(scope="module")
def extractor(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Trained on the digits that victims do not know, briefly."""
    pretraining = Pretraining("convnet", base.pretrain_classes, epochs=8, width=WIDTH, batch=32, learning_rate="0.05")
    network = fitted_network(pretraining, base, device=torch.device("cpu"))
    path = tmp_path_factory.mktemp("extractor") / "weights.safetensors"
    save_weights(path, network, pretraining.record(), {"side": list(base.train.side)})
    return load_weights(path)


def test_the_scorer_ends_where_the_published_loop_ends(base: Base, extractor: Weights, tmp_path: Path) -> None:
    request = craft_request(
        *("bullseye-polytope", base),
        settings={"steps": "20"},
        trials=range(TRIALS),
        epsilon=64,
        surrogates=Surrogates((extractor,)),
        asked=Draw(poisons=8),
    )
    craft_set(tmp_path / "set", request)
    found = scored(tmp_path / "set", base, extractor, PROTOCOL, range(SEEDS), tmp_path / "scratch")
    assert found.ours.shape == found.plain.shape == (TRIALS, SEEDS)
    # Four standard errors: of two samples from one distribution about one pair in 500 is further apart.
    assert abs(found.difference) < 4 * found.standard_error
    assert found.correlation > found.correlation_bound > 0.5
    # The poisons move a victim further than that, so the bounds tell a victim that never saw them.
    assert found.plain.mean() - found.control.mean() > 4 * found.standard_error


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: " ".join([one.name, *one.settings.values()]))
def test_an_attack_ends_where_its_plain_form_ends(
    base: Base, extractor: Weights, tmp_path: Path, attack: Attack
) -> None:
    """Within 1 % of the clean objective: float rounding decides which of two equal steps is taken, 8 bits the rest."""
    found = crafted(attack, base, extractor, range(3), POISONS, LEVELS, tmp_path / "set")
    assert np.abs(found.ours - found.plain).max() < 0.01 * found.clean.min()
    assert (found.ours < 0.8 * found.clean).all()


def test_the_plain_network_is_the_same_network(base: Base, extractor: Weights) -> None:
    network, images = plain_network(extractor.network), as_input(torch.from_numpy(base.test.images[:50]))
    normalised = sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert normalised == 3
    assert torch.allclose(network.features(images), extractor.network.features(images), atol=1e-4)
