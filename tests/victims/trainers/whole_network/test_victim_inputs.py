from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.victims.placement import resolve
from poisonsets.victims.precision import exact_arithmetic
from poisonsets.victims.training.dataset import TrainingSetDataset
from poisonsets.victims.training.views import as_input


@dataclass
class Arrays:
    images: Any
    labels: Any


IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.int64) % 3


def test_a_dataset_has_every_row_in_order() -> None:
    dataset = TrainingSetDataset(Arrays(IMAGES, LABELS))
    inputs, labels = next(iter(DataLoader(dataset, batch_size=7)))
    assert len(dataset) == 7
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, as_input(torch.from_numpy(IMAGES)))
    assert labels.tolist() == LABELS.tolist()
    assert isinstance(dataset[0][1], int)


def test_a_row_can_be_changed_without_harm() -> None:
    dataset = TrainingSetDataset(Arrays(IMAGES, LABELS))
    dataset[0][0].zero_()
    assert dataset[0][0].sum() > 0


@pytest.mark.parametrize(
    ("images", "labels"),
    [(IMAGES / 255, LABELS), (IMAGES.transpose(0, 3, 1, 2), LABELS), (IMAGES, LABELS[:3])],
)
def test_arrays_of_another_kind_are_refused(images: Any, labels: Any) -> None:
    with pytest.raises(UsageError, match="wanted"):
        TrainingSetDataset(Arrays(images, labels))


def test_devices_have_names() -> None:
    assert resolve("cpu") == torch.device("cpu")
    assert resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_gpu_that_is_not_there_is_missing() -> None:
    with pytest.raises(MissingError, match="cuda:999"):
        resolve("cuda:999")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "CPU", "cuda:-1"])
def test_other_names_are_no_devices(name: str) -> None:
    with pytest.raises(UsageError, match="auto, cpu"):
        resolve(name)


def test_exact_arithmetic_puts_the_switches_back() -> None:
    def switches() -> tuple[bool | int, ...]:
        cudnn = torch.backends.cudnn
        return torch.get_num_threads(), cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32

    torch.set_num_threads(2)
    before = switches()
    with exact_arithmetic():
        assert switches() == (1, True, False, True, False)
    assert switches() == before
    torch.set_num_threads(1)
