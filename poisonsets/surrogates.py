"""The attacker's networks. The one module of the crafting package that knows `poisonsets.victims`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from poisonsets.interface import FeatureNetwork
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.model import SurrogateRecord
from poisonsets.manifests.stream import Stream
from poisonsets.victims.device import exact_arithmetic
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.weights import Weights, load_weights

__all__ = ["Surrogates", "exact_arithmetic", "load_frozen"]


@dataclass(frozen=True)
class Surrogates:
    """Networks by file, and which of them each trial's attacker has.

    Attributes:
        weights: the networks as read from their files.
        pool: False: every trial has all of them; True: each trial draws one, as the benchmark's "one of ten
            checkpoints".
    """

    weights: tuple[Weights, ...] = ()
    pool: bool = False

    @property
    def files(self) -> tuple[tuple[Path, str], ...]:
        """Each file with its digest; worker processes load the networks again from there."""
        return tuple((one.path, one.digest) for one in self.weights)

    def of_trial(self, trial: int, seed: int) -> tuple[int, ...]:
        """Positions of the networks that a trial's attacker has; a pool's is drawn from the set's seed."""
        if not self.pool:
            return tuple(range(len(self.weights)))
        return (Stream("surrogate", seed, trial).below(len(self.weights)),)

    def records(self, trials: Iterable[int], seed: int) -> tuple[SurrogateRecord, ...]:
        """What the manifest says of each network: digest, recipe, and with a pool the trials that drew it."""
        numbers = tuple(trials)
        return tuple(
            SurrogateRecord(
                digest=one.digest,
                network=one.record["network"],
                recipe={**_frozen(one.record["recipe"]), "width": one.record["width"]},
                trials=tuple(n for n in numbers if i in self.of_trial(n, seed)) if self.pool else None,
            )
            for i, one in enumerate(self.weights)
        )


def load_frozen(path: Path, digest: str, device: torch.device) -> FeatureNetwork:
    """The network of a file, ready to craft on: eval mode, frozen, batch norm folded.

    Raises:
        MissingError: as `load_weights`.
        DamagedError: as `load_weights`, or it is no longer the network of that digest.
    """
    weights = load_weights(path)
    if weights.digest != digest:
        raise DamagedError(f"{path}: has changed since the order was given", "Craft again")
    return cast(FeatureNetwork, folded(weights.network).to(device))


def _frozen(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with its lists as the tuples that a manifest's frozen values take."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items()}
