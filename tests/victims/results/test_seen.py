"""Which imported networks have seen a base's images when they were pre-trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights
from poisonsets.victims.results.seen import seen_in_pretraining


def weights(folder: Path, pretraining: dict[str, Any], base: str = "digits") -> Weights:
    path = folder / "weights.safetensors"
    network = build("convnet", 2, "0.0625", ("0.5",) * 3, ("0.5",) * 3)
    save_weights(path, network, pretraining, {"base": base}, classes=(0, 1))
    return load_weights(path)


@pytest.mark.parametrize(
    ("dataset", "base", "seen"),
    [
        ("imagenet-1k", "tinyimagenet", True),
        ("ImageNet-21K", "tinyimagenet-second", True),
        ("ILSVRC 2012", "tinyimagenet-first", True),
        ("Tiny ImageNet", "tinyimagenet-second", True),
        ("imagenet-1k", "cifar10", False),
        ("imagenet-1k", "folder:flowers", False),
        ("cifar10", "cifar10", True),
        ("CIFAR-10", "cifar10@holdout=1/5", True),
        ("cifar100", "cifar10", False),
        ("cifar10", "cifar100", False),
        ("", "folder", False),
    ],
)
def test_imported_networks(tmp_path: Path, dataset: str, base: str, seen: bool) -> None:
    found = weights(tmp_path, {"imported": True, "dataset": dataset} if dataset else {"imported": True})
    assert seen_in_pretraining(found, base) is seen


def test_networks_that_were_trained_here_and_victims_from_scratch(tmp_path: Path) -> None:
    assert not seen_in_pretraining(weights(tmp_path, {"dataset": "cifar10"}, base="cifar10"), "cifar10")
    assert not seen_in_pretraining(None, "cifar10")
