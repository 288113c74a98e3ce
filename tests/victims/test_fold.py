from __future__ import annotations

import pytest
import torch
from torch import nn

from poisonsets.victims.networks import Classifier, build, names
from poisonsets.victims.networks.fold import folded

HALF = ("0.5", "0.5", "0.5")


def lived_in(name: str) -> Classifier:
    """A network whose batch normalisation is far from the identity, as after training."""
    generator = torch.Generator().manual_seed(3)
    network = build(name, 5, "0.25", HALF, HALF, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.5, 0.5, generator=generator)
    return network


@pytest.mark.parametrize("name", names())
def test_folding_keeps_the_function_of_eval_mode(name: str) -> None:
    network = lived_in(name)
    copied = folded(network)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network.eval()
    with torch.no_grad():
        wanted, found = network.features(images), copied.features(images)
    assert (wanted - found).abs().max() < 2e-5 * wanted.abs().max()


@pytest.mark.parametrize("name", names())
def test_nothing_is_left_to_train(name: str) -> None:
    copied = folded(lived_in(name))
    assert not copied.training
    assert not any(p.requires_grad for p in copied.parameters())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())


def test_gradients_reach_the_image() -> None:
    images = torch.rand(2, 3, 32, 32).requires_grad_()
    folded(lived_in("convnet"))(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_the_network_itself_is_left_alone() -> None:
    network = lived_in("resnet18").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded(network)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
