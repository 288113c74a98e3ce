"""The distance in feature space from targets to the convex hull of their trial's poisons, or to each poison alone.

Zhu et al. (2019), equation 2, and what their code computes for penultimate features.
"""

import torch
from torch import Tensor

from poisonsets.methods.simplex import nearest_in_hull


class HullDistance:
    """The relative squared distance of targets, features float32 [T, K, ...], from their trial's hull.

    Each call starts from the coefficients of the one before.
    """

    def __init__(self, targets: Tensor) -> None:
        self._targets = targets.flatten(2)
        self._coefficients: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """1/2 ||t - sum_j c_j f_j||^2 / ||t||^2 at the best c, float32 [T], the mean over targets.

        features are float32 [T, P, ...]; no gradient flows through c.
        """
        rows, aims = features.flatten(2), self._targets
        repeated = rows.detach().repeat_interleave(aims.shape[1], dim=0)
        self._coefficients = nearest_in_hull(repeated, aims.flatten(0, 1), start=self._coefficients)
        nearest = torch.bmm(self._coefficients.to(rows.device, rows.dtype).view(*aims.shape[:2], -1), rows)
        return (0.5 * (nearest - aims).square().sum(2) / _squared_length(aims)).mean(1)


def collisions(targets: Tensor, features: Tensor) -> Tensor:
    """1/2 sum_j ||t - f_j||^2 / ||t||^2, float32 [T], the mean over targets: what the published broadcast computes.

    targets are float32 [T, K, D], features float32 [T, P, D].
    """
    apart = (features[:, None] - targets[:, :, None]).square().sum((2, 3))
    return (0.5 * apart / _squared_length(targets)).mean(1)


def _squared_length(targets: Tensor) -> Tensor:
    return targets.square().sum(2).clamp_min(1e-24)
