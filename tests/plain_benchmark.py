"""The published benchmark written down as a plain loop, from its facts: one trial, one victim, one poison at a time.

Schwarzschild et al. (2021), "Just How Toxic is Data Poisoning?", section 4 and its code. Sets are read from the
published layout by the standard pickle module; images are Pillow's, their views torchvision's; nothing is cached,
folded, batched over trials or shared. Images of attacks are float32 in 0..1.
"""

from __future__ import annotations

import pickle  # reads what the project exported; the project itself never imports it
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

from poisonsets.manifests.bases.dataset import Split
from poisonsets.victims.networks import Classifier

Sample = tuple[Image.Image, int]


@dataclass(frozen=True)
class Triple:
    """A trial as three pickles: poisons and target with their labels, and the training images under the poisons."""

    poisons: list[Sample]
    bases: list[int]
    target: Sample

    @classmethod
    def read(cls, folder: Path) -> Triple:
        names = ("poisons", "base_indices", "target")
        poisons, bases, target = (pickle.loads((folder / f"{name}.pickle").read_bytes()) for name in names)  # noqa: S301
        return cls(poisons, [int(index) for index in bases], target)


@dataclass(frozen=True)
class Victim:
    """How the benchmark trains a linear layer on a frozen network; `size` images of `classes`, in equal parts."""

    classes: Sequence[int]
    size: int
    pad: int = 4
    flip: bool = True

    def training_set(self, clean: Split, trial: Triple) -> list[Sample]:
        """The first images of each class that no poison was made of, fewer by the poisons in theirs, then those."""
        chosen: list[Sample] = []
        for label in self.classes:
            wanted = self.size // len(self.classes)
            if label == trial.poisons[0][1]:
                wanted -= len(trial.poisons)
            for index in (clean.labels == label).nonzero()[0].tolist():
                if wanted and index not in trial.bases:
                    chosen.append((Image.fromarray(clean.images[index]), label))
                    wanted -= 1
        return chosen + trial.poisons

    def margin(self, network: Classifier, clean: Split, trial: Triple, seed: int) -> float:
        """The target's logit of the poisons' label minus that of its own, after training with this seed."""
        place = {label: position for position, label in enumerate(self.classes)}
        normalise = transforms.Normalize(network.mean.flatten().tolist(), network.std.flatten().tolist())
        mirrored = [transforms.RandomHorizontalFlip()] if self.flip else []
        crop = transforms.RandomCrop(clean.side, padding=self.pad)
        augmented = transforms.Compose([crop, *mirrored, transforms.ToTensor()])
        samples = self.training_set(clean, trial)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(network.feature_width, len(self.classes))
            optimiser = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-4)
            schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [30], 0.1)
            loader: DataLoader[Any] = DataLoader(samples, 128, shuffle=True, collate_fn=list)  # type: ignore[arg-type]
            for _ in range(40):
                for batch in loader:
                    images = normalise(torch.stack([augmented(image) for image, _ in batch]))
                    labels = torch.tensor([place[label] for _, label in batch])
                    with torch.no_grad():
                        features = network.body(images)[1]
                    optimiser.zero_grad()
                    F.cross_entropy(head(features), labels).backward()
                    optimiser.step()
                schedule.step()
        with torch.no_grad():
            logits = head(network.body(normalise(transforms.ToTensor()(trial.target[0])[None]))[1])[0]
        return float(logits[place[trial.poisons[0][1]]] - logits[place[trial.target[1]]])


def within(images: Tensor, bases: Tensor, levels: int) -> Tensor:
    """Images clipped to the ball around their bases, then to 0..1."""
    return (bases + (images - bases).clamp(-levels / 255, levels / 255)).clamp(0, 1)


def bullseye_ratio(features: Tensor, goal: Tensor) -> Tensor:
    """How far the mean feature is from the goal [D], in lengths of the goal."""
    return (features.mean(0) - goal).norm() / goal.norm()


def hull_distance(features: Tensor, goal: Tensor) -> Tensor:
    """Half the squared distance of the hull of the features [P, D] from the goal, in squared lengths of the goal.

    Coefficients of sum 1 are those that non-negative least squares finds with that sum as one more, heavy equation;
    the benchmark's own solver nears them. They carry no gradient.
    """
    rows, length = features.detach().double().numpy(), float(goal.norm())
    equations = np.vstack([rows.T / length, np.full(len(rows), 1e3)])
    coefficients, _ = nnls(equations, np.append(goal.double().numpy() / length, 1e3))
    mixed = torch.tensor(coefficients, dtype=torch.float32) @ features
    return (mixed - goal).square().sum() / goal.square().sum() / 2


def mean_distance(features: Tensor, goal: Tensor) -> Tensor:
    """The mean squared distance of the features from the goal."""
    return (features - goal).square().sum(1).mean()


Objective = Callable[[Tensor, Tensor], Tensor]


def bullseye(network: Classifier, bases: Tensor, target: Tensor, *, levels: int, steps: int) -> Tensor:
    """Bullseye polytope."""
    return _adam(bullseye_ratio, network, bases, target, levels, steps)


def polytope(network: Classifier, bases: Tensor, target: Tensor, *, levels: int, steps: int) -> Tensor:
    """Convex polytope: each step solves for the coefficients and holds them."""
    return _adam(hull_distance, network, bases, target, levels, steps)


def _adam(objective: Objective, network: Classifier, bases: Tensor, target: Tensor, levels: int, steps: int) -> Tensor:
    """Adam of rate 0.04 on normalised images, which are clipped after each step."""
    goal = network.features(target)[0].detach()
    images = ((bases - network.mean) / network.std).requires_grad_()
    optimiser = torch.optim.Adam([images], lr=0.04, betas=(0.9, 0.999))
    for _ in range(steps):
        optimiser.zero_grad()
        objective(network.body(images)[1], goal).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            pixels = within(images * network.std + network.mean, bases, levels)
            images.copy_((pixels - network.mean) / network.std)
    return (images * network.std + network.mean).detach()


def collisions(
    network: Classifier, bases: Tensor, target: Tensor, *, levels: int, steps: int, rate: float, published: bool
) -> Tensor:
    """Feature collision, a poison at a time."""
    search = published_search if published else backtracking_search
    goal = network.features(target)[0].detach()

    def measured(image: Tensor) -> tuple[float, Tensor]:
        leaf = image.clone().requires_grad_()
        loss = (network.features(leaf[None])[0] - goal).square().sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return float(loss.detach()), gradient

    return torch.stack([search(measured, base, target[0], levels, steps, rate) for base in bases])


Measured = Callable[[Tensor], tuple[float, Tensor]]


def published_search(measured: Measured, base: Tensor, target: Tensor, levels: int, steps: int, rate: float) -> Tensor:
    """As published: once the loss has risen, the same two points are compared until the steps are used up."""
    image, last = 0.3 * target + 0.7 * base, float("inf")
    for _ in range(steps):
        loss, gradient = measured(image)
        if loss > last:
            rate *= 0.2
            continue
        image, last = within(image - rate * gradient, base, levels), loss
    return image


def backtracking_search(
    measured: Measured, base: Tensor, target: Tensor, levels: int, steps: int, rate: float
) -> Tensor:
    """A search that shortens the step where the loss would rise, from a start within the budget."""
    image = within(0.3 * target + 0.7 * base, base, levels)
    loss, gradient = measured(image)
    for _ in range(steps):
        tried = within(image - rate * gradient, base, levels)
        tried_loss, tried_gradient = measured(tried)
        if tried_loss < loss:
            image, loss, gradient = tried, tried_loss, tried_gradient
        else:
            rate *= 0.2
    return image
