"""What trained victims predict, and never what one predicts that diverged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import ViolationError
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.curves import Curves

SMALLER: Final = "Choose a smaller learning rate, for instance `@learning_rate=0.001`"


@dataclass(frozen=True)
class Evaluation:
    """What one trained victim makes of a job's images and of the test images.

    Attributes:
        labels: the label each image of a job is given, in the job's order.
        correct: test images given their own label.
        curves: its course in training; None where they were not recorded.
    """

    labels: tuple[int, ...]
    correct: int
    curves: Curves | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Predictions:
    """A job's victim and its clean control, evaluated.

    Attributes:
        victim: trained on the poisons.
        control: the clean control; None where a base is unknown.
        test_images: how many `correct` counts among.
        training_images: rows of the victim's training set.
        poisons: those of them that are poisons.
        control_rows: the digest of the control's rows; trials with equal ones share one control a seed.
    """

    victim: Evaluation
    control: Evaluation | None
    test_images: int
    training_images: int
    poisons: int
    control_rows: str | None


@torch.no_grad()
def predicted(head: nn.Linear, features: Tensor, protocol: Protocol, where: str) -> Tensor:
    """Positions int64 [N] of the largest logits, all of them finite: argmax calls a NaN the first class.

    Args:
        head: a trained head.
        features: float32 [N, D].
        protocol: what it was trained by.
        where: how a refusal names the victim.

    Raises:
        ViolationError: features, head or logits are not finite.
    """
    if not bool(torch.isfinite(features).all()):
        raise ViolationError(f"{where}: the extractor gives features that are not finite", "Use another extractor")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (head.weight, head.bias)):
        raise diverged(where, f"its head is not finite at learning rate {protocol.learning_rate}")
    return labelled(head(features), protocol, where)


def labelled(logits: Tensor, protocol: Protocol, where: str) -> Tensor:
    """Positions int64 [N] of the largest of logits float32 [N, C], all of them finite.

    Args:
        logits: of a trained victim.
        protocol, where: as for `predicted`.

    Raises:
        ViolationError: one is not finite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise diverged(where, f"its logits are not finite at learning rate {protocol.learning_rate}")
    return logits.argmax(1)


def diverged(where: str, why: str) -> ViolationError:
    """The refusal of a victim whose training diverged; the caller raises it."""
    return ViolationError(f"{where} diverged, {why}", SMALLER)
