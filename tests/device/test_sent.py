"""What steps need of the host reaches a GPU without a wait, and is itself on a CPU."""

from __future__ import annotations

import torch
from device.fake_gpu import DEVICE, fake_gpu

from poisonsets.victims.device import sent


def test_a_copy_on_the_gpu_is_not_waited_for() -> None:
    values = torch.arange(5)
    with fake_gpu() as gpu:
        found = sent(values, DEVICE)
        assert found.is_cuda
        assert not gpu.syncs
        assert found.tolist() == [0, 1, 2, 3, 4]
        assert not values.is_cuda


def test_on_the_cpu_it_is_the_tensor_itself() -> None:
    values = torch.arange(5)
    assert sent(values, torch.device("cpu")) is values
