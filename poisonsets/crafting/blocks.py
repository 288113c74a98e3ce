"""Blocks: the trials that are crafted together, whoever crafts them.

Convolutions round differently at other batch sizes, so the partition depends on the trials alone, never on free memory
or workers, and a block is crafted whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from poisonsets.crafting.request import BLOCK_PIXELS, CraftRequest
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.trials.plan import Plan


@dataclass(frozen=True)
class Block:
    """Trials of equal size that share their surrogates, as integers.

    Attributes:
        plans: T trials of P candidates each.
        bases: uint8 [T, P, H, W, 3].
        targets: uint8 [T, K, H, W, 3].
        seeds: one per trial.
        surrogates: positions among the request's surrogates.
    """

    plans: tuple[Plan, ...]
    bases: Images
    targets: Images
    seeds: tuple[int, ...]
    surrogates: tuple[int, ...]

    def halves(self) -> tuple[Block, Block]:
        """Split the block's trials, at least two, in half."""
        middle = len(self.plans) // 2
        first, second = (
            replace(self, plans=self.plans[h], bases=self.bases[h], targets=self.targets[h], seeds=self.seeds[h])
            for h in (slice(None, middle), slice(middle, None))
        )
        return first, second


def partition(request: CraftRequest) -> Iterator[Block]:
    """Group consecutive trials of equal shape and surrogates into blocks of at most `BLOCK_PIXELS` pixels."""
    height, width = request.base.train.side

    def shape(plan: Plan) -> tuple[int, int, int, tuple[int, ...]]:
        networks = request.surrogates.of_trial(plan.trial, request.seed)
        return len(plan.bases), plan.keep, len(plan.targets), networks

    for (poisons, _, _, networks), alike in groupby(request.plans, key=shape):
        room = max(1, BLOCK_PIXELS // (height * width * poisons)) if request.attack.traits.batched else 1
        run = list(alike)
        for start in range(0, len(run), room):
            yield _block(request, run[start : start + room], networks)


def _block(request: CraftRequest, plans: Sequence[Plan], surrogates: tuple[int, ...]) -> Block:
    base = request.base
    return Block(
        plans=tuple(plans),
        bases=np.stack([base.train.images[list(plan.bases)] for plan in plans]),
        targets=np.stack([np.stack([base.split(t.split).images[t.index] for t in plan.targets]) for plan in plans]),
        seeds=tuple(Stream("craft", request.seed, request.attack.name, plan.trial).seed() for plan in plans),
        surrogates=surrogates,
    )
