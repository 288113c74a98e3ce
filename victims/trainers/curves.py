"""The course of a victim in training: a few numbers after each epoch."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

SERIES: Final = ("adversarial_loss", "adversarial_confidence", "true_loss", "true_confidence")
Values: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Curves:
    """One victim's course: its view of the K targets after each epoch, and how its steps align with their gradient.

    Source: Geiping et al. (2021), "Witches' Brew", Figs. 2 and 9. `recorder` says how it is measured and what differs.

    Attributes:
        adversarial_loss: float32 [epochs, K], cross-entropy in nats under the adversarial label.
        adversarial_confidence: float32 [epochs, K], the softmax probability of the adversarial label.
        true_loss, true_confidence: the same of the true label; NaN where it is none of the victim's classes.
        cosine: float32 [epochs], -1 to 1: the mean over the epoch's steps of the cosine between the gradient of the
            targets' mean adversarial loss and that of the batch's training loss, 0 in a step in which one vanishes.
    """

    adversarial_loss: Values
    adversarial_confidence: Values
    true_loss: Values
    true_confidence: Values
    cosine: Values


def curves_of(table: Values) -> Curves:
    """The curves in a table float32 [epochs, 4 K + 1]: for each of `SERIES` K columns, then the cosine."""
    targets = table.shape[1] // len(SERIES)
    parts = [table[:, i * targets : (i + 1) * targets] for i in range(len(SERIES))]
    return Curves(parts[0], parts[1], parts[2], parts[3], table[:, -1])
