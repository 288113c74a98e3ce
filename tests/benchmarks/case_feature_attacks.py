"""Feature attacks on blocks and folded networks, beside the published methods on the network as it was trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.bench import Case
from benchmarks.case_simplex import compared
from torch import Tensor, nn

from poisonsets import attacks
from poisonsets.budget import project
from poisonsets.interface import Context, Crafted, Task
from poisonsets.manifests.records.trial import Linf
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.classifier import ConvBN

TRIALS, POISONS, STEPS, SIDE = 2, 25, 6, 32
BUDGET = Linf(levels=8)
CPU = torch.device("cpu")
RATE, DECAY = 2.0, 0.2  # of the line search; so long that steps are rejected as well as taken


def cases() -> list[Case]:
    """Feature collision and bullseye polytope, 2 trials of 25 poisons each, 6 steps."""
    trained = trained_network()
    live, task = plain_network(trained), block()
    surrogate = Surrogate(trained, tuple(range(10)), CPU)
    collision = compared(
        lambda: crafted("feature-collision", {"learning_rate": RATE, "decay": DECAY}, task, surrogate).images,
        lambda: torch.stack([_collisions(live, task, trial) for trial in range(TRIALS)]),
        same_pixels,
    )
    bullseye = compared(
        lambda: torch.tensor([curve[-1] for curve in crafted("bullseye-polytope", {}, task, surrogate).history]),
        lambda: torch.tensor([_bullseye(live, task, trial) for trial in range(TRIALS)]),
        lambda ours, plain: torch.allclose(ours, plain, rtol=0.02),
    )
    rough = Surrogate(trained, tuple(range(10)), CPU, "bf16")
    half = compared(
        lambda: torch.tensor([curve[-1] for curve in crafted("bullseye-polytope", {}, task, rough).history]),
        lambda: torch.tensor([_bullseye(live, task, trial) for trial in range(TRIALS)]),
        lambda ours, plain: torch.allclose(ours, plain, rtol=0.2),
    )
    size = f"{TRIALS} trials of {POISONS}, {STEPS} steps, untrained resnet18 of width 0.25; plain: network not folded"
    alone = "a poison at a time, its target forwarded with it at each step; 8-bit pixels agree"
    gradients = "a trial at a time, gradients of parameters computed too; losses agree"
    return [
        Case("feature-collision crafting", *collision, "CPU s", 6, f"{size}, {alone}"),
        Case("bullseye-polytope crafting", *bullseye, "CPU s", 2, f"{size}, {gradients}"),
        Case("bullseye-polytope crafting in bf16", *half, "CPU s", 3, f"{size} and float32, {gradients} within a 5th"),
    ]


def plain_network(network: Classifier) -> Classifier:
    """A copy in eval mode, channels-first, every batch normalisation a layer of its own again, parameters live."""
    copied = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)
    for module in copied.modules():
        if isinstance(module, ConvBN):
            # What is no BatchNorm2d is a layer of its own; a subclass keeps what else it does.
            module.bn = nn.Sequential(module.bn)
    return copied


def trained_network() -> Classifier:
    """Untrained, with running statistics as of a trained network: folding has something to fold."""
    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.25", "0.25"))
    generator = torch.Generator().manual_seed(0)
    network = build("resnet18", 10, "0.25", *normal, generator=generator)
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(32, 3, SIDE, SIDE, generator=generator))
    return network.eval()


def block() -> Task:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(TRIALS * 2, 3, 8, 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear").view(TRIALS, 2, 3, SIDE, SIDE)
    grain = 0.1 * torch.randn(TRIALS, POISONS + 1, 3, SIDE, SIDE, generator=generator)
    return Task(
        bases=(smooth[:, :1] + grain[:, 1:]).clamp(0, 1),
        base_ids=tuple(tuple(range(POISONS)) for _ in range(TRIALS)),
        targets=(smooth[:, 1:] + grain[:, :1]).clamp(0, 1),
        labels=torch.zeros(TRIALS, POISONS, dtype=torch.int64),
        adversarial_labels=torch.zeros(TRIALS, dtype=torch.int64),
        budget=BUDGET,
    )


def crafted(attack: str, settings: dict[str, Any], task: Task, surrogate: Surrogate) -> Crafted:
    generators = tuple(torch.Generator().manual_seed(trial) for trial in range(TRIALS))
    context = Context((surrogate,), generators, CPU, lambda done, total: None)
    return attacks.find(attack).factory(steps=STEPS, **settings)(task, context)


def _collisions(network: Classifier, task: Task, trial: int) -> Tensor:
    target = task.targets[trial, 0]
    return torch.stack([_collision(network, base, target) for base in task.bases[trial]])


def _collision(network: Classifier, base: Tensor, target: Tensor) -> Tensor:
    """One poison as published, batch {poison, target}, with the search that backtracks."""

    def loss_and_gradient(image: Tensor) -> tuple[float, Tensor]:
        leaf = image.clone().requires_grad_()
        features = network.features(torch.stack([leaf, target]))
        loss = (features[0] - features[1]).square().sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.item(), gradient

    image, rate = project(0.3 * target + 0.7 * base, base, BUDGET), RATE
    loss, gradient = loss_and_gradient(image)
    for _ in range(STEPS):
        tried = project(image - rate * gradient, base, BUDGET)
        tried_loss, tried_gradient = loss_and_gradient(tried)
        if tried_loss < loss:
            image, loss, gradient = tried, tried_loss, tried_gradient
        else:
            rate *= DECAY
    return image


def _bullseye(network: Classifier, task: Task, trial: int) -> float:
    def distance(features: Tensor, goal: Tensor) -> Tensor:
        return (features.mean(0) - goal).norm() / goal.norm()

    return descended(network, task, trial, distance)


def descended(network: Classifier, task: Task, trial: int, distance: Callable[[Tensor, Tensor], Tensor]) -> float:
    """One trial as published: Adam on normalised images, gradients accumulate in the parameters; the last loss.

    Args:
        network, task, trial: of the trial.
        distance: the loss, of the poisons' features [P, D] and the target's [D].
    """
    bases = task.bases[trial]
    with torch.no_grad():
        goal = network.features(task.targets[trial])[0]
    scaled = (bases / network.std).requires_grad_()
    optimiser = torch.optim.Adam([scaled], lr=0.04, betas=(0.9, 0.999))

    def loss() -> Tensor:
        return distance(network.features(scaled * network.std), goal)

    for _ in range(STEPS):
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            scaled.copy_(project(scaled * network.std, bases, BUDGET) / network.std)
    with torch.no_grad():
        return loss().item()


def same_pixels(ours: Tensor, plain: Tensor) -> bool:
    """Whether 99 of 100 values of two sets of images in 0..1 agree once they are 8 bits."""
    return float((torch.round(ours * 255) == torch.round(plain * 255)).float().mean()) >= 0.99
