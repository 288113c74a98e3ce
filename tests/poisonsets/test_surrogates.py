"""The attacker's networks: which trial has which, what is recorded, and how they are made ready."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forge import small_base

from poisonsets import surrogates
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.manifests.records.trial import Add, Composition, InPlace, Slots, Supplant
from poisonsets.surrogates import Surrogate, Surrogates, retrain_surrogate
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.weights import Weights, load_weights
from poisonsets.victims.training.pretrain import cached_weights
from poisonsets.victims.training.pretraining import Pretraining

CPU = torch.device("cpu")


def test_without_a_pool_every_trial_has_all_networks(tiny_weights: tuple[Weights, ...]) -> None:
    surrogates = Surrogates(tiny_weights)
    assert {surrogates.of_trial(trial, seed) for trial in range(20) for seed in range(3)} == {(0, 1, 2)}
    assert Surrogates().of_trial(0, 0) == ()
    assert surrogates.__reduce__()[1][0] == tuple((one.path, one.digest, None) for one in tiny_weights)


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
            assert record.pretraining["width"] == "0.25"
            assert record.pretraining["lr_milestones"] == (1, 2)
            wanted = tuple(trial for trial in trials if surrogates.of_trial(trial, 7) == (i,))
            assert record.trials == (wanted if pool else None)
            assert SurrogateRecord.model_validate_json(record.model_dump_json()) == record


def test_a_loaded_network_is_the_same_function_with_frozen_weights(tiny_weights: tuple[Weights, ...]) -> None:
    original = tiny_weights[0].network
    loaded = Surrogate(original, (0, 1), CPU)
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.no_grad():
        assert torch.allclose(loaded.logits(images), original(images), atol=1e-5)
        assert torch.allclose(loaded.logits(images, loaded.weights), original(images), atol=1e-5)
        assert torch.allclose(loaded.stages(images)[0], original.stages(images)[0], atol=1e-5)
    features = loaded.features(images)
    assert torch.allclose(features, original.features(images), atol=1e-5)
    features.sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().max()) > 0
    assert set(loaded.weights) == {name for name, _ in original.named_parameters()}
    assert not any(one.requires_grad or one.grad is not None for one in loaded.weights.values())
    assert load_weights(tiny_weights[0].path).digest == tiny_weights[0].digest


def test_weights_that_are_passed_in_decide_and_receive_gradients(tiny_weights: tuple[Weights, ...]) -> None:
    loaded = Surrogate(tiny_weights[0].network, (0, 1), CPU)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    others = {name: tensor.clone().requires_grad_() for name, tensor in loaded.weights.items()}
    others["head.bias"] = torch.tensor([3.0, -1.0], requires_grad=True)
    moved = loaded.logits(images, others)
    plain = loaded.logits(images, {**loaded.weights, "head.bias": torch.zeros(2)})
    assert torch.allclose(moved - plain, torch.tensor([3.0, -1.0]).expand(4, 2), atol=1e-5)
    moved.sum().backward()
    assert all(tensor.grad is not None for tensor in others.values())


def test_positions_are_those_of_the_labels(tiny_weights: tuple[Weights, ...]) -> None:
    loaded = Surrogate(tiny_weights[0].network, (7, 5), CPU)
    assert loaded.positions(torch.tensor([[5, 7], [7, 7]])).tolist() == [[1, 0], [0, 0]]


def test_bf16_is_near_fp32_and_not_equal_to_it(tiny_weights: tuple[Weights, ...]) -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    exact, fast = (Surrogate(tiny_weights[0].network, (0, 1), CPU, p).features(images) for p in ("fp32", "bf16"))
    assert fast.dtype == torch.float32
    assert not torch.equal(exact, fast)
    assert float((exact - fast).norm() / exact.norm()) < 0.02


def test_dropout_is_a_function_of_its_generator(tiny_weights: tuple[Weights, ...]) -> None:
    loaded = Surrogate(tiny_weights[0].network, (0, 1), CPU)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn = [loaded.features(images, dropout=0.3, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], loaded.features(images))
    with pytest.raises(UsageError, match="without a generator"):
        loaded.features(images, dropout=0.3)


def test_a_surrogate_is_trained_anew_on_the_poisons(cache: Path) -> None:
    base = small_base()
    pretraining = Pretraining("convnet", (0, 1, 2), epochs=1, width="0.25", batch=12)
    weights = cached_weights(pretraining, base, cache, device=CPU)
    black = np.zeros((3, 8, 8, 3), np.uint8)
    slots = Slots(bases=(0, 1, 2), labels=tuple(int(label) for label in base.train.labels[:3]))

    def anew(poisons: Images, rule: Composition, seed: int = 1) -> torch.Tensor:
        images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return retrain_surrogate(weights, base, slots, poisons, rule, seed=seed, device=CPU).logits(images)

    first = anew(black, InPlace())
    assert torch.equal(first, anew(black, InPlace()))
    assert not torch.equal(first, anew(base.train.images[:3], InPlace()))
    assert not torch.equal(first, anew(black, InPlace(), seed=2))
    others = [anew(black, rule) for rule in (Add(), Supplant(removed=(5, 6, 7)), Supplant(removed=(5, 6, 8)))]
    assert len({tuple(logits.flatten().tolist()) for logits in (first, *others)}) == 4


def test_a_surrogate_of_few_images_sees_all_poisons_when_trained_anew(cache: Path) -> None:
    """The pretraining's part of the images is the first ones of each class; the poisons here are the last ones."""
    base = small_base()
    pretraining = Pretraining("convnet", (0, 1, 2), epochs=1, width="0.25", batch=12, images=9)
    weights = cached_weights(pretraining, base, cache, device=CPU)
    late = tuple(int(np.flatnonzero(base.train.labels == label)[-1]) for label in range(3))
    slots = Slots(bases=late, labels=(0, 1, 2))
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = [
        retrain_surrogate(weights, base, slots, poisons, InPlace(), seed=1, device=CPU).logits(images)
        for poisons in (base.train.images[list(late)], 255 - base.train.images[list(late)])
    ]
    assert not torch.equal(*logits)


def received(sent: bytes) -> Surrogates:
    """What a worker process makes of the networks it is sent."""
    found = pickle.loads(sent)  # noqa: S301  our own bytes
    assert isinstance(found, Surrogates)
    return found


def test_networks_travel_as_files(tiny_weights: tuple[Weights, ...]) -> None:
    sent = Surrogates(tiny_weights, pool=True, included=True)
    again = received(pickle.dumps(sent))
    assert (again.__reduce__(), again.pool, again.included) == (sent.__reduce__(), True, True)
    assert len(pickle.dumps(sent)) < tiny_weights[0].path.stat().st_size


def test_a_file_that_is_missing_damaged_or_changed_on_the_way_is_named(
    tmp_path: Path, tiny_weights: tuple[Weights, ...]
) -> None:
    path = tmp_path / "moved.safetensors"
    sent = pickle.dumps(Surrogates((replace(tiny_weights[0], path=path),)))
    with pytest.raises(MissingError, match=r"moved\.safetensors"):
        received(sent)
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(DamagedError, match=r"moved\.safetensors"):
        received(sent)
    path.write_bytes(tiny_weights[1].path.read_bytes())
    with pytest.raises(DamagedError, match=r"moved\.safetensors: has changed since crafting began"):
        received(sent)


def test_a_surrogate_is_retrained_in_the_precision_of_the_attack(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = small_base()
    weights = cached_weights(Pretraining("convnet", (0, 1, 2), epochs=1, width="0.25"), base, cache, device=CPU)
    trained: list[Pretraining] = []

    def fitted(pretraining: Pretraining, *_base: object, **_where: object) -> Classifier:
        trained.append(pretraining)
        return weights.network

    monkeypatch.setattr(surrogates, "fitted_network", fitted)
    slots, poisons = Slots(bases=(1,), labels=(0,)), base.train.images[:1]
    for precision in ("fp32", "bf16"):
        retrain_surrogate(weights, base, slots, poisons, InPlace(), seed=1, device=CPU, precision=precision)
    assert [one.precision for one in trained] == ["fp32", "bf16"]


def test_worker_processes_read_networks_at_the_input_size_given(tiny_weights: tuple[Weights, ...]) -> None:
    surrogates = Surrogates(tuple(one.at_input(20) for one in tiny_weights))
    again = pickle.loads(pickle.dumps(surrogates))  # noqa: S301
    assert [one.digest for one in again.weights] == [one.digest for one in surrogates.weights]
    assert {one.network.spec.input for one in again.weights} == {20}
    assert {record.pretraining["input"] for record in surrogates.records([0], 0)} == {20}
