"""Pairing poisons with source images: three rules, each for all trials of a block at once."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from poisonsets.methods.features import steps_between_looks
from poisonsets.surrogates import Surrogate

Pairing: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Maps distances, float32 [T, P, P], poisons by sources, all finite, and each poison's source so far, int64 [T, P], to
its source, int64 [T, P]."""


def greedy(distances: Tensor, _previous: Tensor) -> Tensor:
    """The closest pair, then the closest of the rest, until every poison has its own source: a permutation.

    Ties go to the lower poison, then to the lower source. Each round takes all pairs that are nearest to each other: no
    closer pair can claim either of them, so one round takes many steps of the sequence. Whether all are paired is asked
    as seldom as `steps_between_looks` says.
    """
    trials, poisons, _ = distances.shape
    # Ranks are whole numbers without ties.
    left = distances.flatten(1).argsort(dim=1, stable=True).argsort(dim=1).view_as(distances)
    paired = torch.zeros_like(left, dtype=torch.bool)
    taken, every = poisons * poisons, steps_between_looks(distances.device)
    for turn in range(poisons):
        # Where the least of a row and of a column are one rank, that cell has it.
        mutual = (left.amin(2, keepdim=True) == left.amin(1, keepdim=True)) & (left < taken)
        paired |= mutual
        if (turn + 1) % every == 0 and int(paired.sum()) == trials * poisons:
            break
        left = left.masked_fill(mutual.any(2, keepdim=True) | mutual.any(1, keepdim=True), taken)
    return paired.long().argmax(2)


def assignment(distances: Tensor, _previous: Tensor) -> Tensor:
    """The permutation with the least sum of distances."""
    from scipy.optimize import linear_sum_assignment

    found = [linear_sum_assignment(one)[1] for one in distances.cpu().double().numpy()]
    return torch.from_numpy(np.stack(found).astype(np.int64)).to(distances.device)


def published(distances: Tensor, previous: Tensor) -> Tensor:
    """The benchmark's rule (Schwarzschild et al. 2021): the P closest pairs, not one per poison; sources may repeat.

    The rule crosses out a pair's cell, not its row and column, so its P rounds find the P smallest entries. The last of
    a poison's pairs counts; a poison without one keeps its source. A source in no pair is lost for good, as the next
    step's candidates are the sources paired now.
    """
    poisons = previous.shape[1]
    candidates = distances.gather(2, previous[:, None, :].expand_as(distances))
    # Ties in the order of the rule's own matrix, candidates by poisons.
    closest = candidates.mT.flatten(1).argsort(dim=1, stable=True)[:, :poisons]
    candidate, poison = closest // poisons, closest % poisons
    turn = torch.arange(poisons, device=distances.device).expand_as(poison)
    last = torch.full_like(previous, -1).scatter_reduce(1, poison, turn, "amax")
    written = previous.gather(1, candidate.gather(1, last.clamp_min(0)))
    return torch.where(last >= 0, written, previous)


RULES: dict[str, Pairing] = {"greedy": greedy, "assignment": assignment, "published": published}


def match_sources(
    images: Tensor, wanted: list[Tensor], previous: Tensor, networks: tuple[Surrogate, ...], rule: Pairing
) -> tuple[Tensor, Tensor, Tensor]:
    """Pair every poison with a source image by their features, and measure the pairs in the same pass.

    Args:
        images: float32 [T, P, 3, H, W] in 0..1, the poisons.
        wanted: the sources' features in each network, float32 [T, P, D].
        previous: int64 [T, P], each poison's source so far.
        networks: whose squared distances are summed.
        rule: one of `RULES`.

    Returns:
        Each trial's sum of squared distances, float32 [T], its gradient by the images, and the pairs, int64 [T, P].
    """
    trials, poisons = images.shape[:2]
    leaf = images.detach().requires_grad_()
    found = [network.features(leaf.flatten(0, 1)).view(trials, poisons, -1) for network in networks]
    pairs = rule(_distances([features.detach() for features in found], wanted), previous)
    losses = torch.stack(
        [
            (features - goal.gather(1, pairs[:, :, None].expand_as(goal))).square().sum((1, 2))
            for features, goal in zip(found, wanted, strict=True)
        ]
    ).sum(0)
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), gradient, pairs


def _distances(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Squared distances [T, P, P], summed over networks; matrix products would round differently in other blocks."""
    mode = "donot_use_mm_for_euclid_dist"
    each = [torch.cdist(f, w, compute_mode=mode).square() for f, w in zip(found, wanted, strict=True)]
    # A rule must find a pair for every poison, even if a network overflows.
    return torch.stack(each).sum(0).nan_to_num(nan=torch.finfo(torch.float32).max)
