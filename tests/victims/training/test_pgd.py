from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.training.pgd import pgd_step

HALF = ("0.5", "0.5", "0.5")
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
RADIUS = 8 / 255


def network() -> Classifier:
    return build("convnet", 4, "0.5", HALF, HALF, generator=torch.Generator().manual_seed(3)).eval()


def project(moved: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(moved, IMAGES - RADIUS), IMAGES + RADIUS).clamp(0, 1)


def test_the_cross_entropy_rises_inside_the_ball() -> None:
    built, images, curve = network(), IMAGES, []
    for _ in range(8):
        images, losses = pgd_step(images, LABELS, built, project, step=2 / 255)
        curve.append(losses)
        assert torch.equal(images, project(images))
        assert not images.requires_grad
        assert not losses.requires_grad
    assert torch.equal(curve[0], F.cross_entropy(built(IMAGES), LABELS, reduction="none").detach())
    assert bool((curve[-1] > curve[0]).all())


def test_a_step_moves_each_value_by_its_length_along_the_gradient() -> None:
    built, leaf = network(), IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(built(leaf), LABELS, reduction="sum"), leaf)
    moved, _ = pgd_step(IMAGES, LABELS, built, lambda images: images, step=0.25)
    torch.testing.assert_close(moved, IMAGES + 0.25 * gradient.sign())


@pytest.mark.parametrize("grad", [True, False])
def test_network_and_images_are_left_alone(grad: bool) -> None:
    built, before = network(), IMAGES.clone()
    state = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    with torch.set_grad_enabled(grad):
        pgd_step(IMAGES, LABELS, built, project, step=0.1)
    assert torch.equal(before, IMAGES)
    assert not IMAGES.requires_grad
    assert all(p.grad is None and p.requires_grad for p in built.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.state_dict().items())


def test_no_gradient_of_a_parameter_is_computed() -> None:
    built = network()
    computed: list[str] = []
    for name, parameter in built.named_parameters():
        parameter.register_hook(lambda _gradient, name=name: computed.append(name))
    pgd_step(IMAGES, LABELS, built, project, step=0.1)
    assert computed == []


def test_an_images_step_does_not_depend_on_the_others() -> None:
    built = network()
    together, _ = pgd_step(IMAGES, LABELS, built, lambda images: images, step=0.1)
    alone, _ = pgd_step(IMAGES[2:3], LABELS[2:3], built, lambda images: images, step=0.1)
    assert float((together[2:3] == alone).double().mean()) > 0.99
