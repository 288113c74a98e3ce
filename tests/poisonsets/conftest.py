"""What the crafting tests share: tiny networks on disk, and a registry that a test may add attacks to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from poisonsets import attacks, registry
from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Weights, ...]:
    """Three untrained convnets of 4 channels for images of 8x8 pixels."""
    folder = tmp_path_factory.mktemp("tiny")
    mean, std = ("0.5", "0.5", "0.5"), ("0.25", "0.2", "0.3")
    for seed in range(3):
        network = build("convnet", 2, "0.25", mean, std, generator=torch.Generator().manual_seed(seed))
        pretraining = {"classes": [0, 1], "epochs": 0, "lr_milestones": [1, 2], "seed": seed}
        save_weights(folder / f"{seed}.safetensors", network, pretraining, {"side": [8, 8]})
    return tuple(load_weights(folder / f"{seed}.safetensors") for seed in range(3))


@pytest.fixture
def open_registry() -> Iterator[None]:
    """Attacks registered in a test are forgotten after it, and entry points are looked for again in it."""
    attacks.attacks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_attacks", dict(registry._attacks))
        attacks.attacks.cache_clear()
        yield
    attacks.attacks.cache_clear()
