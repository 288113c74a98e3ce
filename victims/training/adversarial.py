"""Adversarial examples for training robust networks and measuring their robustness.

Source: Madry et al. (2018, "Towards Deep Learning Models Resistant to Adversarial Attacks"): projected gradient ascent
from a uniform random start in the l-infinity ball; training replaces every image by its example. What the paper leaves
open: here examples are made in eval mode, so that none depends on its batch and running statistics see them in the
training step alone. They stay float32 and are not rounded to levels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from poisonsets.victims.device import sent
from poisonsets.victims.networks import Classifier
from poisonsets.victims.training.pgd import pgd_step
from poisonsets.victims.training.pretraining import Pretraining


@dataclass(frozen=True)
class Adversary:
    """How examples are made.

    Attributes:
        radius: of the l-infinity ball, in units of 0..1.
        steps: ascent steps, at least 1.
        step: how far one moves a value, in units of 0..1.
    """

    radius: float
    steps: int
    step: float


def adversary_of(pretraining: Pretraining) -> Adversary | None:
    """The adversary that a pretraining trains against; None for plain training."""
    if not pretraining.adversary:
        return None
    return Adversary(pretraining.adversary / 255, pretraining.adversary_steps, float(pretraining.adversary_step) / 255)


def attacked(
    network: Classifier, images: Tensor, labels: Tensor, adversary: Adversary, generator: torch.Generator
) -> Tensor:
    """The last iterates of the adversary's ascent, which are in the ball and in 0..1.

    Args:
        network: keeps its mode; no gradient is left in it.
        images: float32 [N, 3, H, W] in 0..1.
        labels: int64 [N], positions among the network's outputs.
        adversary: radius and steps.
        generator: on the CPU, of the random starts.

    Returns:
        float32 [N, 3, H, W] that requires no gradient.
    """
    least = (images - adversary.radius).clamp(min=0)
    most = (images + adversary.radius).clamp(max=1)

    def project(moved: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(moved, least), most)

    noise = sent(torch.rand(images.shape, generator=generator), images.device)
    found = project(images + (2 * noise - 1) * adversary.radius)
    training = network.training
    network.eval()
    for _ in range(adversary.steps):
        found, _losses = pgd_step(found, labels, network, project, step=adversary.step)
    network.train(training)
    return found
