"""Crafting a block of trials: attack, check, round, stamp. A bad result costs only its own trial."""

import math
import traceback
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from poisonsets.budget import to_levels
from poisonsets.crafting.blocks import Block
from poisonsets.crafting.request import CraftRequest
from poisonsets.images import TrainingImages, as_floats, stamp_training
from poisonsets.interface import Context, Crafted, Retrain, Task
from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import Slots
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.trials.plan import Plan, composition_of
from poisonsets.manifests.workers import Progress, silent
from poisonsets.registry import raised_at
from poisonsets.surrogates import Surrogate, device_refusal, exact_arithmetic, is_out_of_memory, retrain_surrogate

_LESS_MEMORY: Final = "Use fewer --workers and go on with --resume, or craft anew with a smaller network"


@dataclass(frozen=True)
class CraftedTrial:
    """A trial's poisons.

    Attributes:
        bases: the poisons' bases: the plan's, or the candidates the attack kept.
        images: uint8 [P, H, W, 3].
        history: the objective over time.
        halvings: how often its block was halved to fit into memory.
    """

    plan: Plan
    bases: tuple[int, ...]
    images: Images
    history: tuple[float, ...]
    halvings: int


@dataclass(frozen=True)
class RefusedTrial:
    """A trial whose crafting failed, why, and the traceback of what the attack raised, if it did."""

    plan: Plan
    reason: str
    traceback: str = ""


class Crafter:
    """An attack and its surrogates, loaded in one process."""

    def __init__(self, request: CraftRequest, device: torch.device = torch.device("cpu")) -> None:
        self._request = request
        self._device = device
        self._attack = request.attack.factory(**request.settings)
        self._trigger = None if request.trigger is None else request.trigger[0]
        self._networks = tuple(
            Surrogate(one.network, tuple(one.record["classes"]), self._device, request.precision)
            for one in request.surrogates.weights
        )

    def run(self, block: Block, progress: Progress = silent, halvings: int = 0) -> list[CraftedTrial | RefusedTrial]:
        """Craft a block; if memory runs out, its halves.

        Raises:
            MissingError: memory ran out and the block cannot be halved again, or the device failed.
            OSError, MissingError, DamagedError: as the attack raised them; other errors refuse the block's trials.
        """
        try:
            with exact_arithmetic(self._request.precision):
                crafted = self._attack(self._task(block), self._context(block, progress))
        except Exception as error:
            halves = len(block.plans) > 1 and halvings < limits.HALVINGS
            if not (halves and is_out_of_memory(error)):
                if failure := device_refusal(error, str(self._device), _LESS_MEMORY):
                    raise failure from error
                if isinstance(error, OSError | MissingError | DamagedError):
                    raise
                place = raised_at(error, self._request.attack.factory)
                reason = f"the attack raised {type(error).__name__}: {error}{place}"
                trace = "".join(traceback.format_exception(error))
                return [RefusedTrial(plan, reason, trace) for plan in block.plans]
        else:
            return [self._trial(block, crafted, i, halvings) for i in range(len(block.plans))]
        # Out here, where the error no longer holds the tensors of the block.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return [result for half in block.halves() for result in self.run(half, progress, halvings + 1)]

    def _task(self, block: Block) -> Task:
        adversarial = torch.tensor([plan.adversarial_label for plan in block.plans], device=self._device)
        return Task(
            bases=as_floats(block.bases, self._device),
            base_ids=tuple(plan.bases for plan in block.plans),
            targets=as_floats(block.targets, self._device),
            labels=adversarial[:, None].expand(-1, block.bases.shape[1]),
            adversarial_labels=adversarial,
            budget=self._request.budget,
            source_classes=tuple(plan.source_classes for plan in block.plans),
            trigger=self._trigger,
            keep=block.plans[0].keep,
        )

    def _context(self, block: Block, progress: Progress) -> Context:
        base, reads = self._request.base, self._request.attack.traits.reads_training
        return Context(
            surrogates=tuple(self._networks[i] for i in block.surrogates),
            generators=tuple(torch.Generator().manual_seed(seed) for seed in block.seeds),
            device=self._device,
            progress=progress,
            mirror=base.mirror,
            training=TrainingImages(base.train, self._device) if reads else None,
            retrain=self._retrain_of(block) if reads else None,
        )

    def _retrain_of(self, block: Block) -> Retrain:
        """The function that retrains a trial's surrogates on its poisons as they would be published."""
        request = self._request

        def retrain(position: int, images: Tensor, times: int) -> tuple[Surrogate, ...]:
            plan = block.plans[position]
            levels = to_levels(images, block.bases[position], request.budget)
            slots = Slots(bases=plan.bases, labels=(plan.adversarial_label,) * len(plan.bases))
            return tuple(
                retrain_surrogate(
                    one,
                    request.base,
                    slots,
                    levels,
                    composition_of(request.composition, plan),
                    seed=Stream("retrain", block.seeds[position], one.digest, times).seed(),
                    device=self._device,
                    precision=request.precision,
                )
                for one in (request.surrogates.weights[i] for i in block.surrogates)
            )

        return retrain

    def _trial(self, block: Block, crafted: Crafted, i: int, halvings: int) -> CraftedTrial | RefusedTrial:
        plan, request = block.plans[i], self._request
        if fault := _fault(crafted, block, i):
            return RefusedTrial(plan, fault)
        images, bases = to_levels(crafted.images[i], block.bases[i], request.budget), plan.bases
        if crafted.kept is not None:
            kept = crafted.kept[i].tolist()
            images, bases = images[kept], tuple(plan.bases[slot] for slot in kept)
        if self._trigger is not None and request.attack.traits.leaves_out(request.settings):
            images = stamp_training(images, self._trigger, bases)
        return CraftedTrial(plan, bases, images, crafted.history[i] if crafted.history else (), halvings)


def _fault(crafted: object, block: Block, i: int) -> str:
    """What is wrong with trial i of an attack's result, or an empty string."""
    if not isinstance(crafted, Crafted):
        return f"the attack returned {type(crafted).__name__}, wanted Crafted"
    trials, poisons, height, width, _ = block.bases.shape
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
    return _fault_of_selection(crafted.kept, block, i)


def _fault_of_selection(kept: Tensor | None, block: Block, i: int) -> str:
    candidates, keep = block.bases.shape[1], block.plans[i].keep
    if kept is None:
        return "" if keep == candidates else f"{candidates} poisons, wanted {keep} of the candidates"
    if tuple(kept.shape) != (len(block.plans), keep):
        return f"a selection of shape {tuple(kept.shape)}, wanted {(len(block.plans), keep)}"
    slots = kept[i].tolist()
    if slots != sorted(set(slots)) or not 0 <= slots[0] <= slots[-1] < candidates:
        return f"a selection that is not {keep} ascending positions among {candidates} candidates"
    return ""
