"""What feature attacks aim at: the target's place in each surrogate's feature space."""

from __future__ import annotations

import torch
from torch import Tensor

from poisonsets.interface import FeatureNetwork


def target_features(networks: tuple[FeatureNetwork, ...], targets: Tensor) -> tuple[Tensor, ...]:
    """For each network f(t), float32 [T, D], of the first target of each trial; no gradient is kept.

    Args:
        networks: the surrogates.
        targets: float32 [T, K, 3, H, W] in 0..1.
    """
    with torch.no_grad():
        return tuple(network.features(targets[:, 0]) for network in networks)
