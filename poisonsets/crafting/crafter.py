"""An attacker at work on a block of trials: attack, check, round, stamp. A bad result costs its own trial only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poisonsets import attacks
from poisonsets.budget import to_levels
from poisonsets.crafting.blocks import Block
from poisonsets.images import SplitImages, as_floats
from poisonsets.interface import Budget, Context, Crafted, Surrogate, Task
from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger, stamp_all, train_id
from poisonsets.manifests.records.trial import Slots
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.trials.plan import CompositionRule, Plan, composition_of
from poisonsets.surrogates import Precision, exact_arithmetic, load_surrogate, retrained

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Attacker:
    """Everything that is the same for all blocks of a set; it travels to worker processes.

    Attributes:
        attack: the registered attack's name.
        settings: all of its settings.
        budget: the constraint every poison meets.
        composition: how the poisons enter the training set.
        files: the surrogates' files with their digests.
        mirror: whether an image of the base and its mirror image show the same thing.
        base: the dataset the trials are from, for attacks that read its training images.
        trigger: of a backdoor.
        device: where the attack runs.
        precision: of the surrogates' passes.
    """

    attack: str
    settings: Mapping[str, Any]
    budget: Budget
    files: Sequence[tuple[Path, str]]
    composition: CompositionRule = "in-place"
    mirror: bool = False
    base: Base | None = None
    trigger: Trigger | None = None
    device: str = "cpu"
    precision: Precision = "fp32"


@dataclass(frozen=True)
class Result:
    """A crafted trial, or why it was refused.

    Attributes:
        plan: the trial.
        bases: the poisons' bases: the plan's, or those of its candidates that the attack kept.
        images: uint8 [P, H, W, 3], or None.
        history: the objective over time.
        refusal: what was wrong with the attack's result, or an empty string.
        halvings: how often its block was halved for want of memory.
    """

    plan: Plan
    bases: tuple[int, ...]
    images: Images | None
    history: tuple[float, ...]
    refusal: str
    halvings: int = 0


class Crafter:
    """An attack with its surrogates in memory, in whichever process it runs."""

    def __init__(self, attacker: Attacker) -> None:
        self._attacker = attacker
        self._device = torch.device(attacker.device)
        entry = attacks.find(attacker.attack)
        self._traits = entry.traits
        self._attack = entry.factory(**attacker.settings)
        self._networks = tuple(
            load_surrogate(path, digest, self._device, attacker.precision) for path, digest in attacker.files
        )

    def run(self, block: Block, progress: Progress = lambda done, total: None, halvings: int = 0) -> list[Result]:
        """Craft a block; where memory runs out, its halves.

        Raises:
            MissingError: memory ran out and the block cannot be halved again, or the system refused something.
        """
        try:
            with exact_arithmetic():
                crafted = self._attack(self._task(block), self._context(block, progress))
        except Exception as error:
            if not _out_of_memory(error):
                if isinstance(error, OSError | MissingError | DamagedError):
                    raise
                refusal = f"the attack raised {type(error).__name__}: {error}"
                return [Result(plan, plan.bases, None, (), refusal) for plan in block.plans]
        else:
            return [self._result(block, crafted, i, halvings) for i in range(len(block.plans))]
        if len(block.plans) == 1 or halvings == limits.HALVINGS:
            raise MissingError(f"{self._device}: out of memory", "Use fewer --workers or a smaller network, --resume")
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
            budget=self._attacker.budget,
            source_classes=tuple(plan.source_classes for plan in block.plans),
            trigger=self._attacker.trigger,
            keep=block.plans[0].keep,
        )

    def _context(self, block: Block, progress: Progress) -> Context:
        base = self._attacker.base
        return Context(
            surrogates=tuple(self._networks[i] for i in block.surrogates),
            generators=tuple(torch.Generator().manual_seed(seed) for seed in block.seeds),
            device=self._device,
            progress=progress,
            mirror=self._attacker.mirror,
            training=None if base is None else SplitImages(base.train, self._device),
            retrain=None if base is None else self._retrain_of(block, base),
        )

    def _retrain_of(self, block: Block, base: Base) -> Callable[[int, Tensor, int], tuple[Surrogate, ...]]:
        """What trains a trial's surrogates anew on its poisons as they would be published."""
        attacker = self._attacker

        def retrain(position: int, images: Tensor, times: int) -> tuple[Surrogate, ...]:
            plan = block.plans[position]
            levels = to_levels(images.detach(), block.bases[position], attacker.budget)
            slots = Slots(bases=plan.bases, labels=(plan.adversarial_label,) * len(plan.bases))
            files = [attacker.files[i] for i in block.surrogates]
            return tuple(
                retrained(
                    file,
                    base,
                    slots,
                    levels,
                    composition_of(attacker.composition, plan),
                    seed=Stream("retrain", block.seeds[position], file[1], times).seed(),
                    device=self._device,
                    precision=attacker.precision,
                )
                for file in files
            )

        return retrain

    def _result(self, block: Block, crafted: Crafted, i: int, halvings: int) -> Result:
        plan = block.plans[i]
        refusal = _fault(crafted, block, i)
        if refusal:
            return Result(plan, plan.bases, None, (), refusal)
        images = to_levels(crafted.images[i].detach(), block.bases[i], self._attacker.budget)
        bases = plan.bases
        if crafted.kept is not None:
            kept = crafted.kept[i].tolist()
            images, bases = images[kept], tuple(plan.bases[slot] for slot in kept)
        history = crafted.history[i] if crafted.history else ()
        return Result(plan, bases, self._stamped(images, bases), history, "", halvings)

    def _stamped(self, images: Images, bases: tuple[int, ...]) -> Images:
        """The trigger at full strength, where the attack leaves it out of the budget or knows no budget."""
        trigger = self._attacker.trigger
        if trigger is None or not self._traits.leaves_out(self._attacker.settings):
            return images
        return stamp_all(images, trigger, [train_id(base) for base in bases])


def _out_of_memory(error: Exception) -> bool:
    # PyTorch's allocator of the main memory raises a plain RuntimeError, in these words on Linux and elsewhere.
    words = ("allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


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
