"""Many heads trained as one batched problem, each as if it were alone.

The heads of a block share every launch: weights [T, C, D], features [T, B, D] gathered step by step, one batched
product forward and one back. Gradient and update are written out in the order of operations of autograd and
torch.optim.SGD, so that each head is that of the published loop up to the rounding of the two products.

A head does not depend on the others of its block. A product's last bits depend on where in memory its operands begin,
so every slice begins at a multiple of 64 bytes; on a GPU the kernel may depend on the number of slices, so every block
is filled up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.manifests.workers import Progress, part_of, silent
from poisonsets.victims.device import sent
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.precision import exact_arithmetic
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.linear_probe.draws import Draws, linear
from poisonsets.victims.trainers.recorder import BlockRecorder, HeadRecorder

BLOCK: Final = 25
"""Heads trained together where memory suffices."""


@dataclass(frozen=True)
class HeadPlan:
    """What one head is trained on, in the order it is seen.

    Attributes:
        weight, bias: initial values, float32 [C, D] and [C].
        keys: int32 [epochs, N]: the key of an image and view in the clean cache, or -1 - that in the poison cache.
        labels: int32 [epochs, N], positions of the classes.
    """

    weight: Tensor
    bias: Tensor
    keys: Tensor
    labels: Tensor


def head_plan(rows: TrainingRows, labels: Tensor, draws: Draws, *, views: int, first_slot: int = 0) -> HeadPlan:
    """The features a head will see.

    Args:
        rows: the training set; a row without a slot is image `base` of the clean cache.
        labels: int64 [N], positions of the rows' labels among the classes.
        draws: every random choice.
        views: how many an image has.
        first_slot: the image of the poison cache that is the trial's slot 0.
    """
    base, slot = torch.from_numpy(rows.base), torch.from_numpy(rows.slot)
    clean, poison = base * views + draws.views, (slot + first_slot) * views + draws.views
    by_row = torch.where(slot < 0, clean, -1 - poison).to(torch.int32)
    return HeadPlan(draws.weight, draws.bias, by_row.gather(1, draws.order), labels.to(torch.int32)[draws.order])


def train_heads(
    plans: Sequence[HeadPlan],
    clean: FeatureCache,
    poisons: FeatureCache | None,
    protocol: Protocol,
    recorder: HeadRecorder | None = None,
    *,
    together: int = BLOCK,
    least: int | None = None,
    progress: Progress = silent,
) -> list[nn.Linear]:
    """Compute the missing features, and train each plan's head.

    Args:
        plans: any number; those of equal length are trained together, so many at a time.
        clean: features of the training split, shared by all heads of an extractor.
        poisons: features of the poisons of all trials; None where no row has a slot.
        protocol: batch, epochs, optimiser.
        together: heads of a block.
        least: fill a block up to this many heads; where left out, up to `together` on a GPU, not at all on a CPU.
        recorder: looks at the heads of its plans, which are the same bytes without it.
        progress: told the epochs done and all epochs, block after block.

    Returns:
        The trained heads on the features' device, in the order of the plans. One that diverged is not finite and leaves
        the others untouched.

    Raises: as `FeatureCache.computed`.
    """
    if least is None:
        least = 1 if clean.images.device.type == "cpu" else together
    _fill(plans, clean, poisons)
    by_length: dict[int, list[int]] = {}
    for i, plan in enumerate(plans):
        by_length.setdefault(plan.keys.shape[1], []).append(i)
    blocks = [
        equal[start : start + together] for equal in by_length.values() for start in range(0, len(equal), together)
    ]
    heads: dict[int, nn.Linear] = {}
    for number, block in enumerate(blocks):
        filled = [plans[i] for i in block] + [plans[block[0]]] * (least - len(block))
        seen_by = recorder.block(block) if recorder else None
        trained = _trained(filled, clean, poisons, protocol, seen_by, part_of(progress, number, len(blocks)))
        heads.update(zip(block, trained[: len(block)], strict=True))
    return [heads[i] for i in range(len(plans))]


def _fill(plans: Sequence[HeadPlan], clean: FeatureCache, poisons: FeatureCache | None) -> None:
    """All plans ask together, so that every forward pass but the last is full."""
    asked = [torch.unique(plan.keys).to(torch.int64) for plan in plans]
    if asked:
        every = torch.cat(asked)
        clean.fill(every[every >= 0])
        if poisons is not None:
            poisons.fill(-1 - every[every < 0])


@exact_arithmetic()
@torch.no_grad()
def _trained(
    plans: list[HeadPlan],
    clean: FeatureCache,
    poisons: FeatureCache | None,
    protocol: Protocol,
    recorder: BlockRecorder | None,
    progress: Progress,
) -> list[nn.Linear]:
    gatherer = _Gatherer(plans, clean, poisons)
    device, features = clean.images.device, clean.network.feature_width
    classes, steps = len(plans[0].bias), min(protocol.batch, plans[0].keys.shape[1])
    # Padded features are always zero, and so are their weights.
    inputs = torch.zeros((len(plans), steps, _rounded_up(features)), device=device)
    # A slice of logits begins at a multiple of 64 bytes because its rows are a multiple of 16.
    room = torch.empty((len(plans), _rounded_up(steps), classes), device=device)
    weight = torch.zeros((len(plans), classes, inputs.shape[2]), device=device)
    weight[:, :, :features] = torch.stack([plan.weight for plan in plans])
    bias = torch.stack([plan.bias for plan in plans]).to(device)
    speeds = torch.zeros_like(weight), torch.zeros_like(bias)
    rate = float(protocol.learning_rate)
    for epoch in range(protocol.epochs):
        if epoch in protocol.lr_milestones:
            rate *= float(protocol.lr_gamma)
        for found, wanted in gatherer.epoch(epoch, protocol.batch):
            count = wanted.shape[1]
            seen, logits = inputs[:, :count], room[:, :count]
            seen[:, :, :features] = found.view(len(plans), count, features)
            torch.baddbmm(bias[:, None], seen, weight.transpose(1, 2), out=logits)
            slope = _logit_gradient(logits, wanted)
            gradients = torch.bmm(slope.transpose(1, 2), seen), slope.sum(1)
            if recorder:
                recorder.step(weight[..., :features], bias, gradients[0][..., :features], gradients[1])
            for values, gradient, speed in zip((weight, bias), gradients, speeds, strict=True):
                _descend(values, gradient, speed, rate, protocol)
        if recorder:
            recorder.epoch(weight[..., :features], bias)
        progress(epoch + 1, protocol.epochs)
    return [linear(weight[i, :, :features], bias[i], device=device) for i in range(len(plans))]


def _logit_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of each head's mean cross-entropy, in place of its logits [T, B, C]; labels int64 [T, B, 1]."""
    share = 1 / logits.shape[1]
    logits.copy_(torch.log_softmax(logits, 2)).exp_().mul_(share)
    return logits.scatter_add_(2, labels, torch.full((1, 1, 1), -share, device=logits.device).expand_as(labels))


def _descend(values: Tensor, gradient: Tensor, speed: Tensor, rate: float, protocol: Protocol) -> None:
    """One step of torch.optim.SGD without dampening; all tensors but the rate are changed in place."""
    gradient.add_(values, alpha=float(protocol.weight_decay))
    speed.mul_(float(protocol.momentum)).add_(gradient)
    values.add_(speed, alpha=-rate)


class _Gatherer:
    """Gives a block's features batch by batch.

    The clean cache is too large to copy, so it is read in place; the poisons of all trials and the clean images it
    lacks are laid together behind it.
    """

    def __init__(self, plans: list[HeadPlan], clean: FeatureCache, poisons: FeatureCache | None) -> None:
        self._plans, self._clean, self._poisons = plans, clean, poisons
        self._device = clean.images.device
        whole = len(clean.adopted) > 0
        self._near = clean.adopted if whole else clean.remembered
        others = [clean.remembered] if whole else []
        others += [poisons.remembered] if poisons is not None else []
        self._far = torch.cat([self._near[:0], *others])
        self._first_poison = len(clean.adopted) + len(clean.remembered)

    def epoch(self, number: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Features [T * B, D] as stored, and labels int64 [T, B, 1], of each step of an epoch."""
        places = self._places(torch.stack([plan.keys[number] for plan in self._plans]))
        labels = sent(torch.stack([plan.labels[number] for plan in self._plans]), self._device).to(torch.int64)
        starts = range(0, places.shape[1], batch)
        flat = torch.cat([places[:, start : start + batch].flatten() for start in starts])
        beyond = torch.nonzero(flat >= len(self._near))[:, 0]
        far, spots = flat[beyond] - len(self._near), beyond % (batch * len(self._plans))
        flat[beyond] = 0
        # All of an epoch at once: a step must not wait for its own.
        near, far, spots = (sent(one, self._device) for one in (flat, far, spots))
        done, passed = 0, 0
        for start in starts:
            wanted = labels[:, start : start + batch, None]
            stop = done + wanted.numel()
            upto = int(torch.searchsorted(beyond, stop))
            found = self._near_rows(near[done:stop])
            if upto > passed:
                found.index_copy_(0, spots[passed:upto], self._far.index_select(0, far[passed:upto]))
            yield found, wanted
            done, passed = stop, upto

    def _places(self, keys: Tensor) -> Tensor:
        found = self._clean.places(keys.clamp(min=0))
        poisoned = keys < 0
        if self._poisons is not None:
            found[poisoned] = self._first_poison + self._poisons.places(-1 - keys[poisoned])
        return found

    def _near_rows(self, places: Tensor) -> Tensor:
        if not len(self._near):  # nothing but poisons
            return self._near.new_empty((len(places), self._near.shape[1]))
        return self._near.index_select(0, places)


def _rounded_up(count: int) -> int:
    return -(-count // 16) * 16  # float32 values in 64 bytes
