"""The attacker's networks: which trial has which, what is recorded, and how they are made ready."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.model import SurrogateRecord
from poisonsets.surrogates import Surrogates, load_frozen
from poisonsets.victims.networks.classifier import ConvBN
from poisonsets.victims.weights import Weights, load_weights

CPU = torch.device("cpu")


def test_without_a_pool_every_trial_has_all_networks(tiny_weights: tuple[Weights, ...]) -> None:
    surrogates = Surrogates(tiny_weights)
    assert {surrogates.of_trial(trial, seed) for trial in range(20) for seed in range(3)} == {(0, 1, 2)}
    assert Surrogates().of_trial(0, 0) == ()
    assert surrogates.files == tuple((one.path, one.digest) for one in tiny_weights)


def test_a_pool_gives_each_trial_one_network_evenly(tiny_weights: tuple[Weights, ...]) -> None:
    pool = Surrogates(tiny_weights, pool=True)
    drawn = [pool.of_trial(trial, 0) for trial in range(600)]
    assert drawn == [pool.of_trial(trial, 0) for trial in range(600)]
    assert drawn != [pool.of_trial(trial, 1) for trial in range(600)]
    counts = Counter(drawn)
    assert set(counts) == {(0,), (1,), (2,)}
    assert all(abs(count - 200) < 60 for count in counts.values())  # five standard deviations


def test_records_name_digests_recipes_and_trials(tiny_weights: tuple[Weights, ...]) -> None:
    trials = (0, 3, 4, 9)
    for pool in (False, True):
        surrogates = Surrogates(tiny_weights, pool=pool)
        records = surrogates.records(iter(trials), 7)
        for i, (record, weights) in enumerate(zip(records, tiny_weights, strict=True)):
            assert (record.digest, record.network, record.included) == (weights.digest, "convnet", False)
            assert record.recipe["width"] == "0.25"
            assert record.recipe["drops"] == (1, 2)
            wanted = tuple(trial for trial in trials if surrogates.of_trial(trial, 7) == (i,))
            assert record.trials == (wanted if pool else None)
            assert SurrogateRecord.model_validate_json(record.model_dump_json()) == record


def test_a_loaded_network_is_frozen_folded_and_the_same_function(tiny_weights: tuple[Weights, ...]) -> None:
    original = tiny_weights[0].network
    loaded = load_frozen(tiny_weights[0].path, tiny_weights[0].digest, CPU)
    assert isinstance(loaded, torch.nn.Module)
    assert not loaded.training
    assert not any(one.requires_grad for one in loaded.parameters())
    assert all(isinstance(one.bn, torch.nn.Identity) for one in loaded.modules() if isinstance(one, ConvBN))
    assert any(isinstance(one, ConvBN) for one in loaded.modules())
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.no_grad():
        assert torch.allclose(loaded(images), original(images), atol=1e-5)
    features = loaded.features(images)
    assert torch.allclose(features, original.features(images), atol=1e-5)
    features.sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().max()) > 0
    assert load_weights(tiny_weights[0].path).digest == tiny_weights[0].digest


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.safetensors"):
        load_frozen(tmp_path / "nowhere.safetensors", "0" * 64, CPU)
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(DamagedError, match=r"bad\.safetensors"):
        load_frozen(tmp_path / "bad.safetensors", "0" * 64, CPU)


def test_a_file_that_changed_after_the_order_is_refused(tiny_weights: tuple[Weights, ...]) -> None:
    with pytest.raises(DamagedError, match="has changed since the order was given"):
        load_frozen(tiny_weights[0].path, tiny_weights[1].digest, CPU)
