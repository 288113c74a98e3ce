"""A block of trials: what is crafted in one go, the same whoever crafts it.

Convolutions round differently in batches of other sizes, so the partition into blocks is a fixed function of the
trials, never of free memory or workers, and a block is crafted whole or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poisonsets import registry
from poisonsets.budget import to_levels
from poisonsets.interface import Budget, Context, Crafted, Task
from poisonsets.manifests.bases.dataset import Base, Images
from poisonsets.manifests.errors import MissingError, PoisonsetsError
from poisonsets.manifests.setups.plan import Plan
from poisonsets.manifests.stream import Stream
from poisonsets.surrogates import Surrogates, exact_arithmetic, load_frozen

BLOCK_PIXELS = 256 * 32 * 32


@dataclass(frozen=True)
class Block:
    """Trials of equal size that share their surrogates, as integers.

    Attributes:
        plans: T trials of P poisons each.
        bases: uint8 [T, P, H, W, 3].
        targets: uint8 [T, K, H, W, 3].
        seeds: one a trial.
        surrogates: positions in the list of all surrogates.
    """

    plans: tuple[Plan, ...]
    bases: Images
    targets: Images
    seeds: tuple[int, ...]
    surrogates: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """A crafted trial, or why it was refused.

    Attributes:
        images: uint8 [P, H, W, 3], or None.
        history: the objective over time.
        refusal: what was wrong with the attack's result, or an empty string.
    """

    plan: Plan
    images: Images | None
    history: tuple[float, ...]
    refusal: str


def partition(
    plans: Sequence[Plan], base: Base, *, attack: str, seed: int, batched: bool, surrogates: Surrogates
) -> Iterator[Block]:
    """Consecutive trials of one shape and one choice of surrogates, at most 256 images of 32x32 pixels a block.

    Args:
        plans: the trials, in order.
        base: where their images are.
        attack: its name; with the seed and the trial's number it seeds the trial.
        seed: the set's seed.
        batched: False for attacks that take one trial at a time.
        surrogates: the attacker's networks.
    """
    height, width = base.train.side

    def shape(plan: Plan) -> tuple[int, int, tuple[int, ...]]:
        return len(plan.bases), len(plan.targets), surrogates.of_trial(plan.trial, seed)

    for (poisons, _, networks), alike in groupby(plans, key=shape):
        room = max(1, BLOCK_PIXELS // (height * width * poisons)) if batched else 1
        run = list(alike)
        for start in range(0, len(run), room):
            yield _block(run[start : start + room], base, attack, seed, networks)


class Crafter:
    """An attack with its surrogates in memory, in whichever process it runs."""

    def __init__(
        self, attack: str, settings: Mapping[str, Any], budget: Budget, files: Sequence[tuple[Path, str]], device: str
    ) -> None:
        self._device = torch.device(device)
        self._attack = registry.find(attack).factory(**settings)
        self._budget = budget
        self._networks = tuple(load_frozen(path, digest, self._device) for path, digest in files)

    def run(self, block: Block, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Result]:
        """Craft a block: attack, check, round."""
        adversarial = torch.tensor([plan.adversarial_label for plan in block.plans], device=self._device)
        task = Task(
            bases=_floats(block.bases, self._device),
            targets=_floats(block.targets, self._device),
            labels=adversarial[:, None].expand(-1, block.bases.shape[1]),
            adversarial_labels=adversarial,
            budget=self._budget,
        )
        context = Context(
            surrogates=tuple(self._networks[i] for i in block.surrogates),
            generators=tuple(torch.Generator().manual_seed(seed) for seed in block.seeds),
            device=self._device,
            progress=progress,
        )
        try:
            with exact_arithmetic():
                crafted = self._attack(task, context)
        except Exception as error:  # noqa: BLE001  an attack may be anybody's code; its block is refused, others go on
            _raise_if_transient(error, self._device)
            refusal = f"the attack raised {type(error).__name__}: {error}"
            return [Result(plan, None, (), refusal) for plan in block.plans]
        return [self._result(block, crafted, i) for i in range(len(block.plans))]

    def _result(self, block: Block, crafted: Crafted, i: int) -> Result:
        plan = block.plans[i]
        refusal = _fault(crafted, block.bases.shape, i)
        if refusal:
            return Result(plan, None, (), refusal)
        history = crafted.history[i] if crafted.history else ()
        return Result(plan, to_levels(crafted.images[i].detach(), block.bases[i], self._budget), history, "")


def _raise_if_transient(error: Exception, device: torch.device) -> None:
    """Stop the run where the machine failed and not the attack: the set must not come out smaller for that.

    Raises:
        MissingError: memory ran out, or the system refused something; the set can be resumed.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in str(error):
        raise MissingError(f"{device}: out of memory", "Use fewer --workers or a smaller network, and --resume")
    if isinstance(error, OSError | PoisonsetsError):
        raise error


def _fault(crafted: object, bases: tuple[int, ...], i: int) -> str:
    """What is wrong with trial i of an attack's result, or an empty string."""
    if not isinstance(crafted, Crafted):
        return f"the attack returned {type(crafted).__name__}, wanted Crafted"
    trials, poisons, height, width, _ = bases
    images, wanted = crafted.images, (trials, poisons, 3, height, width)
    if tuple(images.shape) != wanted:
        return f"images of shape {tuple(images.shape)}, wanted {wanted}"
    if images.dtype != torch.float32:
        return f"images of type {str(images.dtype).removeprefix('torch.')}, wanted float32"
    if not bool(torch.isfinite(images[i]).all()):
        return "the attack gave values that are not finite"
    if crafted.history and len(crafted.history) != trials:
        return f"a history of {len(crafted.history)} trials, wanted {trials}"
    if crafted.history and not all(map(math.isfinite, crafted.history[i])):
        return "the attack's objective is not finite"
    return ""


def _block(plans: Sequence[Plan], base: Base, attack: str, seed: int, surrogates: tuple[int, ...]) -> Block:
    return Block(
        plans=tuple(plans),
        bases=np.stack([base.train.images[list(plan.bases)] for plan in plans]),
        targets=np.stack([np.stack([base.split(t.split).images[t.index] for t in plan.targets]) for plan in plans]),
        seeds=tuple(Stream("craft", seed, attack, plan.trial).seed() for plan in plans),
        surrogates=surrogates,
    )


def _floats(images: Images, device: torch.device) -> Tensor:
    """uint8 [T, P, H, W, 3] to float32 [T, P, 3, H, W] in 0..1."""
    return (torch.from_numpy(images).permute(0, 1, 4, 2, 3).to(device).float() / 255).contiguous()
