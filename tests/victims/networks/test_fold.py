from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from lived_networks import lived_in
from torch import Tensor, nn
from torch.func import functional_call

from poisonsets.victims.networks import Classifier, names
from poisonsets.victims.networks.classifier import ConvBN
from poisonsets.victims.networks.fold import folded


def some(network: Classifier, count: int, side: int = 16) -> Tensor:
    """Images that are large enough for the network."""
    side = max(side, network.body.smallest)
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", names())
def test_folding_keeps_the_function_of_eval_mode(name: str) -> None:
    network = lived_in(name)
    copied = folded(network)
    images = some(network, 4, 32)
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


def pair(inputs: int = 3, outputs: int = 6, **options: Any) -> ConvBN:
    layer, generator = ConvBN(inputs, outputs, kernel=3, **options), torch.Generator().manual_seed(1)
    for tensor in (*layer.conv.parameters(), *layer.bn.state_dict().values()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.2, 2, generator=generator)
    return layer.eval()


def apart(layer: ConvBN, images: Tensor) -> Tensor:
    """The convolution and then the normalisation, as two layers."""
    found: Tensor = layer.bn(layer.conv(images))
    return found


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [
        (pair(), 3),
        (pair(stride=2), 3),
        (pair(4, 8, groups=1, bias=True), 4),
        (pair(4, 8, groups=4, bias=True), 4),
    ],
    ids=["plain", "stride", "bias", "groups and bias"],
)
def test_the_fold_in_the_graph_has_the_values_and_gradients_of_the_pair(layer: ConvBN, parameters: int) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, layer.conv.in_channels, 9, 9, generator=generator).requires_grad_()
    found, wanted = layer(images), apart(layer, images)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    weighting = torch.randn(found.shape, generator=generator)
    leaves = [images, *layer.parameters()]
    assert len(leaves) == 1 + parameters
    gradients = [torch.autograd.grad((out * weighting).sum(), leaves) for out in (found, wanted)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_training_mode_normalises_by_the_batch_and_keeps_statistics() -> None:
    layer = pair().train()
    assert isinstance(layer.bn, nn.BatchNorm2d)
    images = torch.rand(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    before = layer.bn.running_mean.clone()
    out = layer(images)
    maps = F.conv2d(images, layer.conv.weight, padding=1)
    assert not torch.equal(layer.bn.running_mean, before)
    wanted = 0.9 * before + 0.1 * maps.mean((0, 2, 3))
    torch.testing.assert_close(layer.bn.running_mean, wanted)
    torch.testing.assert_close(out.mean((0, 2, 3)), layer.bn.bias.detach(), rtol=1e-4, atol=1e-4)


# torch itself calls it at the first use of forward mode.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", names())
def test_forward_mode_goes_through_weights_that_are_passed_in(name: str) -> None:
    """The derivative of the logits along a direction in weight space is that of reverse mode."""
    network = lived_in(name).eval()
    images = some(network, 2)
    weights = {key: tensor.detach() for key, tensor in network.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    along = {key: torch.randn(tensor.shape, generator=generator) * 0.1 for key, tensor in weights.items()}
    _, found = forward_derivative(lambda given: functional_call(network, given, (images,)), weights, along)
    logits = network(images)
    for image in range(2):
        gradients = torch.autograd.grad(logits[image, 0], list(network.parameters()), retain_graph=True)
        wanted = sum((g * a).sum() for g, a in zip(gradients, along.values(), strict=True))
        assert isinstance(wanted, Tensor)
        torch.testing.assert_close(found[image, 0], wanted, rtol=1e-3, atol=1e-4)


def forward_derivative(
    function: Callable[[dict[str, Tensor]], Tensor], at: dict[str, Tensor], along: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """A function's value and its derivative along a direction, by dual numbers."""
    with forward_ad.dual_level():
        duals = {key: forward_ad.make_dual(tensor, along[key]) for key, tensor in at.items()}
        value, derivative = forward_ad.unpack_dual(function(duals))
    return value, derivative
