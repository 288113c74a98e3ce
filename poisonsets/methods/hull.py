"""How far targets are from the convex hull of their trial's poisons, and from each poison alone, in feature space.

Zhu et al. (2019), equation 2, and what their published code computes of penultimate features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from poisonsets.methods.simplex import nearest_in_hull


class HullDistance:
    """The relative squared distance of targets from their trial's hull; remembers coefficients to start from.

    Args:
        targets: float32 [T, K, ...], the features to be met.
    """

    def __init__(self, targets: Tensor) -> None:
        self._targets = targets.flatten(2)
        self._coefficients: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """1/2 ||t - sum_j c_j f_j||^2 / ||t||^2 at the best c, the mean over a trial's targets; c has no gradient.

        Args:
            features: float32 [T, P, ...].

        Returns:
            float32 [T].
        """
        rows, aims = features.flatten(2), self._targets
        solved = nearest_in_hull(
            rows.detach().repeat_interleave(aims.shape[1], dim=0), aims.flatten(0, 1), start=self._coefficients
        )
        self._coefficients = solved
        nearest = torch.bmm(solved.to(rows.dtype).view(*aims.shape[:2], -1), rows)
        return (0.5 * (nearest - aims).square().sum(2) / _squared_length(aims)).mean(1)


def collisions(targets: Tensor, features: Tensor) -> Tensor:
    """1/2 sum_j ||t - f_j||^2 / ||t||^2, the mean over a trial's targets: what the published broadcast computes.

    Args:
        targets: float32 [T, K, D].
        features: float32 [T, P, D].

    Returns:
        float32 [T].
    """
    apart = (features[:, None] - targets[:, :, None]).square().sum((2, 3))
    return (0.5 * apart / _squared_length(targets)).mean(1)


def _squared_length(targets: Tensor) -> Tensor:
    return targets.square().sum(2).clamp_min(1e-24)
