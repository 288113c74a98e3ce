"""Hidden-trigger and clean-label backdoors of four trials, against the published methods, one trial at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.bench import Case
from benchmarks.case_feature_attacks import plain_network, same_pixels
from benchmarks.case_simplex import compared
from torch import Tensor

from poisonsets.attacks.clean_label_backdoor import clean_label_backdoor
from poisonsets.attacks.hidden_trigger_backdoor import hidden_trigger_backdoor
from poisonsets.images import TrainingImages
from poisonsets.interface import Context, Task
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.records.trial import Linf
from poisonsets.methods.sources import draw_sources
from poisonsets.surrogates import Surrogate
from poisonsets.triggers import resolve
from poisonsets.victims.networks import Classifier, build

TRIALS, POISONS, SIDE, STEPS = 4, 25, 32, 10
EPSILON, RATE, STEP_SIZE = 8 / 255, 1e-3, 2 / 255
NOTE = (
    "plain: resnet18 at width 0.25, laid out channels-first, not folded, gradients of its parameters too, "
    "one trial at a time; 99 of 100 8-bit pixels agree"
)


def _network() -> Classifier:
    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.25", "0.25"))
    return build("resnet18", 10, "0.25", *normal, generator=torch.Generator().manual_seed(0)).eval()


def _work() -> tuple[Task, Context]:
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 256, (2 * TRIALS * POISONS, SIDE, SIDE, 3), dtype=np.uint8)
    split = Split(shown, np.arange(len(shown)) % 2)
    base = Base("random", ("a", "b"), split, split, (0, 1), (0, 1), mirror=False)
    training = TrainingImages(split, torch.device("cpu"))
    ids = tuple(tuple(range(2 * POISONS * t, 2 * POISONS * (t + 1), 2)) for t in range(TRIALS))
    task = Task(
        bases=torch.stack([training.images(one) for one in ids]),
        base_ids=ids,
        targets=torch.zeros(TRIALS, 1, 3, SIDE, SIDE),
        labels=torch.zeros(TRIALS, POISONS, dtype=torch.int64),
        adversarial_labels=torch.zeros(TRIALS, dtype=torch.int64),
        budget=Linf(levels=8),
        source_classes=((1,),) * TRIALS,
        trigger=resolve("patch,margin=5", base, seed=0)[0],
        keep=POISONS,
    )
    surrogate = Surrogate(_network(), tuple(range(10)), torch.device("cpu"))
    generators = tuple(torch.Generator().manual_seed(trial) for trial in range(TRIALS))
    context = Context((surrogate,), generators, torch.device("cpu"), lambda done, total: None, training=training)
    return task, context


def _published_hidden_trigger(network: Classifier, bases: Tensor, sources: Tensor) -> Tensor:
    """One trial: each step a batch of its own, P rounds of the least cell, gradients of everything."""
    wanted = network.features(sources).detach()
    images = bases.clone()
    for _step in range(STEPS):
        leaf = images.detach().requires_grad_()
        features = network.features(leaf)
        distances = torch.cdist(wanted, features.detach())
        matched = wanted.clone()
        for _round in range(len(bases)):
            row, column = divmod(int(distances.argmin()), len(bases))
            matched[column] = wanted[row]
            distances[row, column] = torch.inf
        wanted = matched
        (features - matched).square().sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        images = bases + (leaf.detach() - RATE * leaf.grad - bases).clamp(-EPSILON, EPSILON)
        images = images.clamp(0, 1)
    return images


def _published_clean_label(network: Classifier, bases: Tensor, labels: Tensor) -> Tensor:
    images = bases
    for _step in range(STEPS):
        leaf = images.detach().requires_grad_()
        F.cross_entropy(network(leaf), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        moved = leaf.detach() + STEP_SIZE * leaf.grad.sign()
        images = (bases + (moved - bases).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    return images


def cases() -> list[Case]:
    """The cases of this file."""
    task, context = _work()
    network = plain_network(_network())
    hidden = hidden_trigger_backdoor(steps=STEPS, stop=0.0, pairing="published")
    clean, unstamped = clean_label_backdoor(steps=STEPS, start="base"), replace(task, trigger=None)

    def fresh() -> Context:
        generators = tuple(torch.Generator().manual_seed(trial) for trial in range(TRIALS))
        return replace(context, generators=generators)

    sources = [draw_sources(task, fresh(), trial, POISONS, repeat=True).stamped() for trial in range(TRIALS)]

    def plain_hidden() -> Tensor:
        each = zip(task.bases, sources, strict=True)
        return torch.stack([_published_hidden_trigger(network, *pair) for pair in each])

    def plain_clean() -> Tensor:
        each = zip(task.bases, task.labels, strict=True)
        return torch.stack([_published_clean_label(network, *pair) for pair in each])

    hidden_sides = compared(lambda: hidden(task, fresh()).images, plain_hidden, same_pixels)
    clean_sides = compared(lambda: clean(unstamped, fresh()).images, plain_clean, same_pixels)

    return [
        Case("hidden-trigger", *hidden_sides, "CPU s", 1.8, NOTE),
        Case("clean-label PGD", *clean_sides, "CPU s", 1.8, NOTE),
    ]
