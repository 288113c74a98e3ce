from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import canonical_json
from poisonsets.victims.networks.normalisation import NONE, channel_statistics
from poisonsets.victims.networks.weights import load_weights, save_weights, weights_digest
from poisonsets.victims.training.labels import images_of
from poisonsets.victims.training.pretrain import cached_weights, fitted_network, provenance, train_network
from poisonsets.victims.training.pretraining import Pretraining, default_pretraining

CPU = torch.device("cpu")
PRETRAINING = Pretraining(
    "convnet", (0, 1, 3), epochs=6, width="0.25", batch=16, learning_rate="0.05", pad=1, lr_milestones=(5,)
)


def test_the_same_recipe_gives_the_same_bytes(tiny_base: Base, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        trained = train_network(PRETRAINING, tiny_base, device=CPU)
        save_weights(tmp_path / name, trained.network, PRETRAINING.record(), provenance(tiny_base, trained))
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_training_learns_and_counts_test_images_of_its_classes(tiny_base: Base) -> None:
    trained = train_network(PRETRAINING, tiny_base, device=CPU)
    assert trained.images == 30
    assert trained.correct >= 28
    assert not trained.network.training


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 5},
        {"batch": 17},
        {"learning_rate": "0.06"},
        {"lr_milestones": (2,)},
        {"momentum": "0.8"},
        {"weight_decay": "0.1"},
        {"pad": 2},
        {"flip": True},
        {"classes": (1, 0, 3)},
        {"normalise": "none"},
    ],
    ids=str,
)
def test_every_setting_matters(tiny_base: Base, change: dict[str, object]) -> None:
    short = replace(PRETRAINING, epochs=3, lr_milestones=(1,))
    changed = replace(short, **change)
    assert changed.digest("base") != short.digest("base")
    plain, other = (train_network(pretraining, tiny_base, device=CPU).network for pretraining in (short, changed))
    assert weights_digest(plain) != weights_digest(other)


def test_global_random_state_is_untouched(tiny_base: Base) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    train_network(replace(PRETRAINING, epochs=1), tiny_base, device=CPU)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_progress_reaches_the_end(tiny_base: Base) -> None:
    calls: list[tuple[int, int]] = []
    train_network(replace(PRETRAINING, epochs=3), tiny_base, device=CPU, progress=lambda *steps: calls.append(steps))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_normalisation_is_that_of_the_training_images(tiny_base: Base) -> None:
    images, _ = images_of(tiny_base.train, PRETRAINING.classes)
    mean, std = channel_statistics(images)
    pixels = images.reshape(-1, 3) / 255
    assert [float(m) for m in mean] == pytest.approx(pixels.mean(0), abs=1e-6)
    assert [float(s) for s in std] == pytest.approx(pixels.std(0), abs=1e-6)
    assert train_network(replace(PRETRAINING, epochs=1), tiny_base, device=CPU).network.spec.mean == mean


def test_a_network_that_does_not_normalise_sees_the_pixels(tiny_base: Base, tmp_path: Path) -> None:
    pretraining = replace(PRETRAINING, normalise="none")
    trained = train_network(pretraining, tiny_base, device=CPU)
    assert (trained.network.spec.mean, trained.network.spec.std) == NONE
    assert trained.correct >= 28
    save_weights(tmp_path / "w", trained.network, pretraining.record(), provenance(tiny_base, trained))
    read = load_weights(tmp_path / "w")
    assert read.record["pretraining"]["normalise"] == "none"
    assert (read.network.mean.unique().tolist(), read.network.std.unique().tolist()) == ([0.0], [1.0])


def test_a_channel_without_spread_can_be_normalised() -> None:
    assert channel_statistics(np.zeros((2, 4, 4, 3), dtype=np.uint8)) == (
        ("0.000000",) * 3,
        ("1.000000",) * 3,
    )


def test_images_of_keeps_order_and_gives_positions(tiny_base: Base) -> None:
    images, labels = images_of(tiny_base.train, (3, 1))
    kept = [i for i, label in enumerate(tiny_base.train.labels) if label in (1, 3)]
    assert np.array_equal(images, tiny_base.train.images[kept])
    assert [(3, 1)[p] for p in labels] == [int(tiny_base.train.labels[i]) for i in kept]


def test_weights_are_trained_once(tiny_base: Base, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    pretraining = replace(PRETRAINING, epochs=1)

    def get() -> str:
        return cached_weights(
            pretraining, tiny_base, tmp_path, device=CPU, progress=lambda *steps: calls.append(steps)
        ).digest

    first = get()
    assert get() == first
    assert calls == [(1, 1)]
    (file,) = (tmp_path / "weights").iterdir()
    assert file.name == f"{pretraining.digest(tiny_base.train.digest)}.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="Remove .*" + file.name):
        get()


def test_mirrored_views_need_a_base_that_allows_them(tiny_base: Base) -> None:
    with pytest.raises(UsageError, match="mirror"):
        train_network(replace(PRETRAINING, flip=True), replace(tiny_base, mirror=False), device=CPU)


def test_a_class_without_images_is_refused(tiny_base: Base) -> None:
    with pytest.raises(UsageError, match="class 9"):
        train_network(replace(PRETRAINING, classes=(0, 9)), tiny_base, device=CPU)


def test_a_record_is_canonical_json_and_says_every_field() -> None:
    record = PRETRAINING.record()
    assert canonical_json.loads(canonical_json.dumps(record), "record") == record
    assert set(record) == set(Pretraining.__dataclass_fields__) - {"input"}
    assert set(replace(PRETRAINING, input=16).record()) == set(Pretraining.__dataclass_fields__)
    assert Pretraining.of_record(replace(PRETRAINING, input=16).record()).input == 16
    assert PRETRAINING.digest("one split") != PRETRAINING.digest("another")


@pytest.mark.parametrize(
    "change",
    [
        {"network": "convnett"},
        {"width": "0"},
        {"classes": ()},
        {"classes": (1, 1)},
        {"epochs": 0},
        {"batch": 0},
        {"pad": -1},
        {"learning_rate": "fast"},
        {"seed": -1},
        {"dropout": "1"},
        {"dropout": "-0.1"},
        {"images": -3},
        {"images": 10},
        {"adversary": 8},
        {"adversary": 8, "adversary_steps": 2},
        {"adversary": 8, "adversary_step": "2"},
        {"adversary": 256, "adversary_steps": 2, "adversary_step": "2"},
        {"adversary": -1, "adversary_steps": 2, "adversary_step": "2"},
        {"adversary_steps": 2},
        {"adversary_step": "2"},
        {"normalise": "cifar10"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(PRETRAINING, **change)


def test_only_digits_names_a_default(tiny_base: Base) -> None:
    assert default_pretraining(tiny_base, "features") is None
    pretraining = default_pretraining(replace(tiny_base, name="digits"), "features")
    assert pretraining is not None
    assert pretraining.classes == tiny_base.pretrain_classes
    assert not pretraining.flip


def test_digits_names_a_classifier_and_a_robust_one_of_the_victims_classes(tiny_base: Base) -> None:
    digits = replace(tiny_base, name="digits")
    classifier, robust = default_pretraining(digits, "classifier"), default_pretraining(digits, "robust")
    assert classifier is not None
    assert robust is not None
    assert classifier.classes == robust.classes == tiny_base.victim_classes
    assert classifier.adversary == 0
    assert robust.adversary > 0
    assert default_pretraining(tiny_base, "robust") is None


HARD = replace(
    PRETRAINING,
    dropout="0.25",
    images=30,
    adversary=8,
    adversary_steps=2,
    adversary_step="1.50",
    lr_milestones=(2, 4),
    flip=True,
    normalise="none",
)


@pytest.mark.parametrize("pretraining", [PRETRAINING, HARD], ids=["plain", "hard"])
def test_a_recipe_is_read_from_its_record(pretraining: Pretraining) -> None:
    record = pretraining.record()
    assert Pretraining.of_record(record) == pretraining
    assert Pretraining.of_record(canonical_json.loads(canonical_json.dumps(record), "record")) == pretraining
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    assert Pretraining.of_record(frozen) == pretraining


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": 1}, "with 'extra'"),
        ({"dropout": None}, "dropout is 'None'"),
        ({"epochs": True}, "epochs is 'True'"),
        ({"flip": 1}, "flip"),
        ({"classes": [0, "1"]}, "classes"),
        ({"lr_milestones": 3}, "lr_milestones"),
        ({"epochs": 0}, "epochs is 0"),
        ({"network": "nosuch"}, "nosuch"),
        ({"normalise": "cifar10"}, "no normalise is called 'cifar10'"),
        ({"normalise": None}, "normalise is 'None'"),
        ({"precision": "fp16"}, "no precision is called 'fp16'"),
    ],
    ids=str,
)
def test_a_record_of_no_recipe_is_damage(change: dict[str, object], said: str) -> None:
    with pytest.raises(DamagedError, match=said):
        Pretraining.of_record(PRETRAINING.record() | change)


@pytest.mark.parametrize("name", sorted(set(Pretraining.__dataclass_fields__) - {"normalise", "input", "precision"}))
def test_a_record_without_a_setting_is_damage(name: str) -> None:
    record = PRETRAINING.record()
    del record[name]
    with pytest.raises(DamagedError, match=f"without '{name}'"):
        Pretraining.of_record(record)


def test_a_record_from_before_a_setting_means_what_was_done_then() -> None:
    record = replace(HARD, precision="bf16").record()
    del record["normalise"], record["precision"]
    assert Pretraining.of_record(record) == replace(HARD, normalise="own", precision="fp32")


@pytest.mark.parametrize("adversary", [{}, {"adversary": 8, "adversary_steps": 2, "adversary_step": "2"}])
def test_bf16_trains_nearly_the_same_and_is_recorded(tiny_base: Base, adversary: dict[str, Any]) -> None:
    exact = replace(PRETRAINING, epochs=1, learning_rate="0.01", **adversary)
    coarse = replace(exact, precision="bf16")
    assert coarse.record()["precision"] == "bf16"
    assert coarse.digest("0" * 64) != exact.digest("0" * 64)
    one, other = (fitted_network(each, tiny_base, device=CPU).head.weight for each in (exact, coarse))
    assert other.dtype == torch.float32
    assert not torch.equal(one, other)
    assert float((one - other).detach().norm() / one.detach().norm()) < 0.1


def test_filters_lie_channels_last_in_training_and_as_ever_in_files(tiny_base: Base, tmp_path: Path) -> None:
    network = fitted_network(replace(PRETRAINING, epochs=1), tiny_base, device=CPU)
    save_weights(tmp_path / "one", network, PRETRAINING.record(), {})
    for each, layout in (
        (network, torch.channels_last),
        (load_weights(tmp_path / "one").network, torch.contiguous_format),
    ):
        assert all(
            one.weight.is_contiguous(memory_format=layout) for one in each.modules() if isinstance(one, nn.Conv2d)
        )


def test_a_device_that_lacks_the_precision_trains_nothing(tiny_base: Base) -> None:
    with pytest.raises(UsageError, match=r"no tf32 on device cpu"):
        fitted_network(replace(PRETRAINING, precision="tf32"), tiny_base, device=CPU)
