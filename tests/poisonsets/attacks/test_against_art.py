"""Two losses and one attack step by step against the adversarial-robustness-toolbox, which was written by others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.budget import project
from poisonsets.manifests.records.trial import Linf
from poisonsets.methods.gradients import cosine, match_gradient, weight_gradient
from poisonsets.surrogates import Surrogate, pgd_step
from poisonsets.victims.networks import Classifier, build

pytest.importorskip("art", reason="the dev extra adversarial-robustness-toolbox is not installed")

CLASSES, SIDE, COUNT = 3, 12, 6
EIGHT = Linf(levels=8)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toolbox takes a GPU where it finds one, and draws from torch's global state."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture(scope="module")
def network() -> Classifier:
    generator = torch.Generator().manual_seed(1)
    built = build("convnet", CLASSES, "0.5", ("0.5",) * 3, ("0.25", "0.2", "0.3"), generator=generator).eval()
    for layer in built.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
    return built


def images(seed: int, count: int) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def classifier(network: Classifier) -> object:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        network, nn.CrossEntropyLoss(), (3, SIDE, SIDE), CLASSES, clip_values=(0, 1), device_type="cpu"
    )


def test_gradient_matching_has_the_toolboxs_loss_and_gradient(network: Classifier) -> None:
    from art.attacks.poisoning import GradientMatchingAttack

    poisons, labels = images(2, COUNT), torch.arange(COUNT) % CLASSES
    target, wanted_label = images(3, 1), torch.tensor([2])
    attack = GradientMatchingAttack(classifier(network), percent_poison=1.0, epsilon=8 / 255, verbose=0)
    attack._initialize_poison(target.numpy(), wanted_label.numpy(), poisons.numpy(), labels.numpy())
    theirs, shown = attack.backdoor_model(poisons, torch.arange(COUNT), labels, attack.grad_ws_norm)
    (slope,) = torch.autograd.grad(theirs, shown)

    surrogate = Surrogate(network, tuple(range(CLASSES)), torch.device("cpu"))
    wanted = weight_gradient(surrogate, target, wanted_label)
    loss, gradient = match_gradient(surrogate, shown.detach(), labels, cosine(wanted))
    assert float(loss) == pytest.approx(float(theirs.detach()), abs=1e-5)
    assert float(F.cosine_similarity(gradient.flatten().double(), slope.flatten().double(), dim=0)) >= 0.99999
    assert float(gradient.norm()) == pytest.approx(float(slope.norm()), rel=1e-3)


def test_projected_gradient_ascent_makes_the_toolboxs_steps(network: Classifier) -> None:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    bases, labels = images(4, COUNT), torch.arange(COUNT) % CLASSES
    ours, step = bases, 2 / 255
    for count in range(1, 8):
        attack = ProjectedGradientDescentPyTorch(
            classifier(network), eps=8 / 255, eps_step=step, max_iter=count, batch_size=COUNT, verbose=False
        )
        theirs = torch.from_numpy(attack.generate(bases.numpy(), np.eye(CLASSES, dtype=np.float32)[labels]))
        ours, _ = pgd_step(ours, labels, network, lambda moved: project(moved, bases, EIGHT), step=step)
        apart = (ours - theirs).abs()
        # A gradient of nearly zero may have either sign.
        assert float((apart > 1e-5).float().mean()) <= 0.002, f"after {count} steps"
    assert float((ours - bases).abs().max()) == pytest.approx(8 / 255, abs=1e-6)
