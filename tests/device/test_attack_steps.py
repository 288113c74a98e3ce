"""No step of an attack waits for the device: draws go there many steps at a time, curves come back at the end."""

from __future__ import annotations

import pytest
import torch
from device.fake_gpu import DEVICE, Gpu, fake_gpu

from poisonsets import attacks
from poisonsets.experiments.laws.tiny_tasks import craft, network
from poisonsets.methods.gradients import cosine, match_gradient, weight_gradient
from poisonsets.registry import RegisteredAttack
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import build

# A host that solves on its CPU what is too small for a device: once to the host and back in every step.
MOVED = {"convex-polytope": 2}
STEPPING = [one for one in attacks.attacks().values() if one.traits.perturbs and "steps" in one.defaults()]
SETTINGS = {"retraining": "0", "stop": "0", "clean": "2"}
HALF = ("0.5",) * 3


def crafted(entry: RegisteredAttack, steps: int) -> Gpu:
    """What one trial of an attack asked of a GPU."""
    with fake_gpu() as gpu:
        craft(entry, steps=steps, networks=(network(1, device=DEVICE),), trials=[0], settings=SETTINGS, device=DEVICE)
    return gpu


@pytest.mark.parametrize("entry", STEPPING, ids=lambda one: one.name)
def test_no_step_waits_for_the_device(entry: RegisteredAttack) -> None:
    few, more = crafted(entry, 3), crafted(entry, 5)
    waits = more.syncs - few.syncs
    assert waits.total() == 2 * MOVED.get(entry.name, 0), dict(waits)
    assert more.launches.total() > few.launches.total()
    assert not more.faults
    assert not more.random


def test_an_evaluation_of_gradient_matching_is_at_most_500_launches_of_resnet18() -> None:
    with fake_gpu() as gpu:
        net = build("resnet18", 2, "0.0625", HALF, HALF, generator=torch.Generator().manual_seed(0))
        surrogate, images = Surrogate(net, (0, 1), DEVICE), torch.ones(2, 3, 8, 8, device=DEVICE)
        positions = surrogate.positions(torch.tensor([0, 1], device=DEVICE))
        mismatch = cosine(weight_gradient(surrogate, images, positions))
        gpu.launches.clear()
        match_gradient(surrogate, images, positions, mismatch)
    assert 200 < gpu.launches.total() <= 500
