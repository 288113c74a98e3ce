"""The gradient through a weight gradient is that of autograd's double backward, at less work."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.methods.convolutions import images_alone
from poisonsets.methods.gradients import (
    Criterion,
    clip_and_noise,
    cosine,
    euclidean,
    gradient_norms,
    length_of,
    margin,
    match_gradient,
    weight_gradient,
)
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import Classifier, build

CLASSES, SIDE, POISONS = 4, 16, 5
CPU = torch.device("cpu")
CRITERIA: dict[str, Criterion] = {"cross-entropy": F.cross_entropy, "margin": margin}
FORMULAS = {
    "cosine": (cosine, lambda wanted, found: 1 - F.cosine_similarity(wanted, found, dim=0)),
    "euclidean": (euclidean, lambda wanted, found: 0.5 * (wanted - found).square().sum() / wanted.norm()),
}


def network(name: str) -> Classifier:
    """Untrained, with batch normalisation that does something."""
    generator = torch.Generator().manual_seed(1)
    width = {"convnet": "0.5", "resnet18": "0.0625"}[name]
    built = build(name, CLASSES, width, ("0.5", "0.4", "0.6"), ("0.25", "0.2", "0.3"), generator=generator)
    for layer in built.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.2, generator=generator)
    return built.eval()


NETWORKS = {name: network(name) for name in ("convnet", "resnet18")}
GENERATOR = torch.Generator().manual_seed(2)
IMAGES = torch.rand(POISONS, 3, SIDE, SIDE, generator=GENERATOR)
POSITIONS = torch.arange(POISONS) % CLASSES
TARGET, AIM = torch.rand(1, 3, SIDE, SIDE, generator=GENERATOR), torch.tensor([2])


def surrogate(name: str = "convnet", precision: str = "fp32") -> Surrogate:
    return Surrogate(NETWORKS[name], tuple(range(CLASSES)), CPU, precision)


def flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([one.permute(0, 2, 3, 1).flatten() if one.dim() == 4 else one.flatten() for one in tensors])


def parameter_gradient(net: Classifier, images: Tensor, positions: Tensor, criterion: Criterion) -> Tensor:
    """The same vector by the network itself; differentiable."""
    copied = dict(net.named_parameters())
    return flat(torch.autograd.grad(criterion(net(images), positions), list(copied.values()), create_graph=True))


def alike(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("distance", FORMULAS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_that_of_double_backward(name: str, distance: str, criterion: str) -> None:
    ours, formula = FORMULAS[distance]
    wanted = weight_gradient(surrogate(name), TARGET, AIM, criterion=CRITERIA[criterion])
    leaf = IMAGES.clone().requires_grad_()
    found = parameter_gradient(NETWORKS[name], leaf, POSITIONS, CRITERIA[criterion])
    expected = formula(wanted, found)
    (slope,) = torch.autograd.grad(expected, leaf)
    value, gradient = match_gradient(surrogate(name), IMAGES, POSITIONS, ours(wanted), criterion=CRITERIA[criterion])
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert alike(gradient, slope) >= 0.99999
    assert float(gradient.norm()) == pytest.approx(float(slope.norm()), rel=1e-3)
    assert gradient.is_contiguous()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_weight_gradient_is_that_of_all_images_together(name: str) -> None:
    expected = parameter_gradient(NETWORKS[name], IMAGES, POSITIONS, F.cross_entropy).detach()
    for batch in (1, 3, 256):
        found = weight_gradient(surrogate(name), IMAGES, POSITIONS, batch=batch)
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)
        assert not found.requires_grad


def test_every_image_has_its_own_length() -> None:
    norms = gradient_norms(surrogate(), IMAGES, POSITIONS)
    for i in range(POISONS):
        one = parameter_gradient(NETWORKS["convnet"], IMAGES[i : i + 1], POSITIONS[i : i + 1], F.cross_entropy)
        assert float(norms[i]) == pytest.approx(float(one.norm().detach()), rel=1e-4)


def test_networks_and_images_are_left_alone() -> None:
    attacked, images = surrogate(), IMAGES.clone()
    before = {name: tensor.clone() for name, tensor in attacked.weights.items()}
    wanted = weight_gradient(attacked, TARGET, AIM)
    value, gradient = match_gradient(attacked, images, POSITIONS, cosine(wanted))
    assert not value.requires_grad
    assert not gradient.requires_grad
    assert torch.equal(images, IMAGES)
    assert not images.requires_grad
    for name, tensor in attacked.weights.items():
        assert torch.equal(tensor, before[name])
        assert not tensor.requires_grad
        assert tensor.grad is None


def test_half_precision_gives_nearly_the_same() -> None:
    wanted = weight_gradient(surrogate(), TARGET, AIM)
    exact = match_gradient(surrogate(), IMAGES, POSITIONS, cosine(wanted))[1]
    rough = match_gradient(surrogate(precision="bf16"), IMAGES, POSITIONS, cosine(wanted))[1]
    assert rough.dtype == torch.float32
    assert 0.9 < alike(exact, rough) < 1


@pytest.mark.parametrize(
    "form",
    [
        {"padding": 1},
        {"stride": 2, "padding": (1, 0)},
        {"dilation": 2, "bias": False},
        {"groups": 2, "padding": 1},
        {"padding": "same"},
    ],
    ids=str,
)
def test_any_convolution_has_the_second_gradients_of_autograd(form: dict[str, object]) -> None:
    """In float64, where a difference would be one of formulas; two layers, so that a slope has a past."""
    first, second = nn.Conv2d(2, 4, 3, **form).double(), nn.Conv2d(4, 2, 3, **form).double()
    generator = torch.Generator().manual_seed(3)
    weights = [*first.parameters(), *second.parameters()]
    for one in weights:
        one.data.normal_(generator=generator)
    images = torch.rand(2, 2, 12, 12, dtype=torch.float64, generator=generator).requires_grad_()
    along = [torch.randn(one.shape, dtype=torch.float64, generator=generator) for one in weights]

    def through() -> Tensor:
        gradients = torch.autograd.grad(torch.tanh(second(torch.tanh(first(images)))).sum(), weights, create_graph=True)
        return torch.autograd.grad(gradients, images, along)[0]

    expected = through()
    with images_alone():
        found = through()
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert float(expected.abs().max()) > 0


def test_within_images_alone_no_second_gradient_of_a_weight_is_given_out_as_one() -> None:
    layer = nn.Conv2d(1, 1, 3)
    with images_alone():
        values = layer(torch.ones(1, 1, 5, 5, requires_grad=True))
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(values.sum(), layer.weight)


@pytest.mark.parametrize("clip", [0.5, 100.0])
@pytest.mark.parametrize("distance", FORMULAS)
def test_formulas_have_the_derivatives_that_autograd_gives(distance: str, clip: float) -> None:
    ours, formula = FORMULAS[distance]
    generator = torch.Generator().manual_seed(4)
    wanted, found = (torch.randn(50, generator=generator) for _ in range(2))
    drawn = torch.randn(50, generator=torch.Generator().manual_seed(5))
    leaf = found.clone().requires_grad_()
    expected = formula(wanted, leaf * (clip / leaf.norm()).clamp_max(1) + clip * 0.1 * drawn)
    (slope,) = torch.autograd.grad(expected, leaf)
    noisy = clip_and_noise(ours(wanted), torch.Generator().manual_seed(5), clip=clip, noise=0.1)
    value, derivative = noisy(found)
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert torch.allclose(derivative, slope, rtol=1e-3, atol=1e-6)
    assert float(noisy(found)[0]) != float(value), "the noise must be fresh at every evaluation"


def test_a_gradient_of_zero_gives_numbers() -> None:
    zero, one = torch.zeros(10), torch.ones(10)
    for distance in (cosine, euclidean):
        for wanted, found in ((zero, one), (one, zero), (zero, zero)):
            value, derivative = distance(wanted)(found)
            assert bool(torch.isfinite(value))
            assert bool(torch.isfinite(derivative).all())
    assert float(cosine(one)(zero)[0]) == 1


def test_millions_of_values_cost_no_digits() -> None:
    generator = torch.Generator().manual_seed(6)
    long = torch.rand(4_000_000, generator=generator)
    assert float(length_of(long)) == pytest.approx(float(long.double().norm()), rel=1e-6)


def test_the_margin_is_the_published_one_where_the_wanted_class_does_not_lead_and_never_without_gradient() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.5, 3.0, 1.0]], requires_grad=True)
    wrong = torch.tensor([1, 0])
    assert float(margin(logits, wrong).detach()) == pytest.approx((1.0 + 2.5) / 2)
    right = torch.tensor([0, 1])
    loss = margin(logits, right)
    assert float(loss.detach()) == pytest.approx((-1.0 - 2.0) / 2)
    (slope,) = torch.autograd.grad(loss, logits)
    assert torch.equal(slope, torch.tensor([[-0.5, 0.5, 0], [0, -0.5, 0.5]]))
