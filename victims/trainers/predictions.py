"""What a trained victim is asked, and what it answers: labels, and never those of a victim that diverged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import Trial
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.curves import Curves

SMALLER: Final = "Choose a smaller learning rate, for instance `@learning_rate=0.001`"


@dataclass(frozen=True)
class Victim:
    """A trained head and its count of correct test images."""

    head: nn.Linear
    correct: int


@dataclass(frozen=True)
class Question:
    """One job's input.

    Attributes:
        trial: its record.
        poisons: uint8 [P, H, W, 3], in slot order.
        targets: uint8 [K, H, W, 3], what the victims are asked for, with the trigger on where there is one.
        victim_seed: which of several victims.
    """

    trial: Trial
    poisons: Images
    targets: Images
    victim_seed: int

    @cached_property
    def pixels(self) -> str:
        """The sha256 of the poisons' pixels: victims are equal where it, the seed, the rows and the draws are."""
        return hashlib.sha256(np.ascontiguousarray(self.poisons).data).hexdigest()


@dataclass(frozen=True)
class Verdict:
    """What a trial's victim and its clean control make of the targets.

    Attributes:
        poisoned: the label each target is given, in the trial's order.
        control: the same of the clean control; None where a base is unknown.
        correct, control_correct: test images given their own label.
        images: test images.
        training_images: rows of the training set.
        poisons: those of them that are poisons.
        control_rows: the digest of the control's rows; trials with equal ones share one control a seed.
        curves: the victim's course, then the control's where there is one; nothing where they were not watched.
    """

    poisoned: tuple[int, ...]
    control: tuple[int, ...] | None
    correct: int
    control_correct: int | None
    images: int
    training_images: int
    poisons: int
    control_rows: str | None
    curves: tuple[Curves, ...] = field(default=(), compare=False)


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
