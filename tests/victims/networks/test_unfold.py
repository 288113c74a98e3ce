"""A gradient by a folded network's weights becomes the one by the network's own, and directions go back."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.unfold import Unfolding

HALF = ("0.5",) * 3
NAMES = {"convnet": "no normalisation", "resnet18": "no biases", "vgg11": "biases too", "mobilenetv2": "depthwise"}


def network(name: str) -> Classifier:
    """In float32 and eval mode, with statistics and scales that do something."""
    generator = torch.Generator().manual_seed(0)
    built = build(name, 3, "0.125", HALF, HALF, generator=generator).eval()
    for layer in built.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.2, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
    return built


def flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([one.permute(0, 2, 3, 1).flatten() if one.dim() == 4 else one.flatten() for one in tensors])


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_networks_own_and_the_adjoint_is_one(name: str) -> None:
    built, generator = network(name), torch.Generator().manual_seed(1)
    images, labels = torch.rand(4, 3, 32, 32, generator=generator), torch.arange(4) % 3
    expected = flat(torch.autograd.grad(F.cross_entropy(built(images), labels), list(built.parameters())))

    unfolding = Unfolding(built)
    leaves = {key: value.clone().requires_grad_() for key, value in unfolding.weights.items()}
    loss = F.cross_entropy(functional_call(unfolding.folded, leaves, (images,)), labels)
    slopes = torch.autograd.grad(loss, list(leaves.values()))
    found = unfolding.gradient(slopes)
    assert found.shape == (unfolding.size,) == expected.shape
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))

    direction = torch.randn(unfolding.size, generator=generator)
    wanted = float(direction.double() @ found.double())
    back = unfolding.adjoint(direction)
    product = sum(float((one.double() * other.double()).sum()) for one, other in zip(back, slopes, strict=True))
    assert product == pytest.approx(wanted, rel=1e-4)
