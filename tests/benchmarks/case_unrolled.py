"""Convex polytope, sleeper-agent and metapoison, beside the published steps, one trial at a time, not folded."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from benchmarks.bench import Case
from benchmarks.case_feature_attacks import (
    CPU,
    STEPS,
    TRIALS,
    block,
    crafted,
    descended,
    plain_network,
    trained_network,
)
from benchmarks.case_gradients import double_backward, taken_apart
from benchmarks.case_simplex import compared, published
from torch import Tensor
from torch.func import functional_call

from poisonsets.interface import Task
from poisonsets.methods.descent import differentiable
from poisonsets.methods.gradients import Match, cosine, matching_objective, train_unrolled, weight_gradient
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import Classifier

UNROLLED, RATE, SOURCES = 2, 0.01, 100


def cases() -> list[Case]:
    """The steps of three attacks; their results agree."""
    trained, task = trained_network(), block()
    live, surrogate = plain_network(trained), Surrogate(trained, tuple(range(10)), CPU)
    convex = compared(
        lambda: torch.tensor([curve[-1] for curve in crafted("convex-polytope", {}, task, surrogate).history]),
        lambda: torch.tensor([_convex(live, task, trial) for trial in range(TRIALS)]),
        lambda ours, plain: torch.allclose(ours, plain, rtol=0.5),
    )
    poisons, wanted, labels = task.bases[0], torch.tensor([1]), task.labels[0]
    unrolled = differentiable(lambda images: _unrolled(surrogate, images[0], labels, task.targets[0], wanted)[None])
    meta = compared(
        lambda: unrolled.slope(poisons[None])[1][0],
        lambda: _plain_unrolled(live, poisons, labels, task.targets[0], wanted),
        lambda ours, plain: bool(F.cosine_similarity(ours.flatten(), plain.flatten(), dim=0) >= 0.999),
    )
    sources = torch.rand(SOURCES, *poisons.shape[1:], generator=torch.Generator().manual_seed(2))
    apart = copy.deepcopy(trained)
    taken_apart(apart)
    sleeper = compared(
        lambda: _sleeper(surrogate, poisons, labels, sources),
        lambda: _plain_sleeper(apart, poisons, labels, sources),
        lambda ours, plain: bool(F.cosine_similarity(ours.flatten(), plain.flatten(), dim=0) >= 0.999),
    )
    size = "untrained resnet18 of width 0.25, fp32; plain: batch normalisation a layer of its own"
    return [
        Case(
            "convex-polytope crafting",
            *convex,
            "CPU s",
            4,
            f"{TRIALS} trials, {STEPS} steps, {size}, the published solver, a trial at a time; losses within a half",
        ),
        Case("metapoison, one step", *meta, "CPU s", 1.1, f"{UNROLLED} inner steps, {size}; cosine at least 0.999"),
        Case(
            "sleeper-agent, gradient of the sources and one step",
            *sleeper,
            "CPU s",
            1.5,
            f"{SOURCES} sources, {size}, double backward into the parameters too; cosine at least 0.999",
        ),
    ]


def _convex(network: Classifier, task: Task, trial: int) -> float:
    """As published: coefficients by projected gradient at every step, then Adam."""

    def distance(features: Tensor, goal: Tensor) -> Tensor:
        coefficients = published(features.detach(), goal)
        return 0.5 * (coefficients @ features - goal).square().sum() / goal.square().sum()

    return descended(network, task, trial, distance)


def _unrolled(surrogate: Surrogate, poisons: Tensor, labels: Tensor, targets: Tensor, wanted: Tensor) -> Tensor:
    weights = train_unrolled(surrogate, poisons, surrogate.positions(labels), UNROLLED, RATE)
    return F.cross_entropy(surrogate.logits(targets, weights), surrogate.positions(wanted))


def _plain_unrolled(network: Classifier, poisons: Tensor, labels: Tensor, targets: Tensor, wanted: Tensor) -> Tensor:
    leaf = poisons.clone().requires_grad_()
    weights = dict(network.named_parameters())
    for _ in range(UNROLLED):
        loss = F.cross_entropy(functional_call(network, weights, (leaf,)), labels)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: value - RATE * slope for (name, value), slope in zip(weights.items(), slopes, strict=True)}
    F.cross_entropy(functional_call(network, weights, (targets,)), wanted).backward()
    network.zero_grad()
    assert leaf.grad is not None
    return leaf.grad


def _sleeper(surrogate: Surrogate, poisons: Tensor, labels: Tensor, sources: Tensor) -> Tensor:
    mislabelled = torch.ones(len(sources), dtype=torch.int64)
    aim = weight_gradient(surrogate, sources, mislabelled, batch=250)
    match = Match(surrogate, surrogate.positions(labels), cosine(aim))
    return matching_objective([match], batch=len(poisons)).slope(poisons[None])[1][0]


def _plain_sleeper(network: Classifier, poisons: Tensor, labels: Tensor, sources: Tensor) -> Tensor:
    loss = F.cross_entropy(network(sources), torch.ones(len(sources), dtype=torch.int64))
    aims = torch.autograd.grad(loss, list(network.parameters()))
    found = double_backward(network, poisons, labels, aims)
    assert found is not None
    return found
