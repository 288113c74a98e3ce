"""What trained victims predict; one that diverged predicts nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import ViolationError
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.curves import Curves

SMALLER: Final = "Choose a smaller learning rate: add `learning_rate=0.001` to the protocol"


@dataclass(frozen=True)
class Evaluation:
    """One trained victim's predictions.

    Attributes:
        labels: the label given to each image of a job, in the job's order.
        correct: test images classified correctly.
        curves: its course in training; None where not recorded.
        state: the tensors of what was trained, its head or the whole network; they must not be changed.
    """

    labels: tuple[int, ...]
    correct: int
    curves: Curves | None = field(default=None, compare=False)
    state: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)


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
    """Positions int64 [N] of a trained head's largest logits for features float32 [N, D].

    `protocol` and `where` name the learning rate and the victim in a refusal.

    Raises:
        ViolationError: features, head or logits are not finite; argmax would call a NaN the first class.
    """
    if not bool(torch.isfinite(features).all()):
        raise ViolationError(f"{where}: the extractor gives features that are not finite", "Use another extractor")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (head.weight, head.bias)):
        raise _diverged(where, "head is", protocol)
    return labelled(head(features), protocol, where)


def labelled(logits: Tensor, protocol: Protocol, where: str) -> Tensor:
    """Positions int64 [N] of the largest of logits float32 [N, C]; a ViolationError where one is not finite."""
    if not bool(torch.isfinite(logits).all()):
        raise _diverged(where, "logits are", protocol)
    return logits.argmax(1)


def _diverged(where: str, what: str, protocol: Protocol) -> ViolationError:
    return ViolationError(f"{where} diverged, its {what} not finite at learning rate {protocol.learning_rate}", SMALLER)
