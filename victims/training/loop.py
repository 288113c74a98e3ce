"""The one training loop: same draws, same machine and versions, same bytes, whether or not it was interrupted.

The model, a step's inputs and the place a run is kept are passed in: pretraining, victims from scratch, fine-tuned
victims and lone heads all use it. Nothing within an epoch waits for the device.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.workers import Progress, silent
from poisonsets.victims.device import sent
from poisonsets.victims.precision import Precision, autocast
from poisonsets.victims.protocols import Augment, Optimiser
from poisonsets.victims.training.checkpoint import Checkpoint, Recorder
from poisonsets.victims.training.views import view_count

InputTransform: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From rows int64 [M] and their drawn views [M] or [M, 3], on the device, to what the model is given."""


@dataclass(frozen=True)
class Schedule:
    """Every setting of the loop, by the names that pretrainings and protocols have for them."""

    epochs: int
    batch: int
    learning_rate: str
    lr_milestones: tuple[int, ...]
    lr_gamma: str
    momentum: str
    weight_decay: str
    pad: int
    flip: bool
    optimiser: Optimiser = "sgd"
    nesterov: bool = False
    augment: Augment = "crop"


def schedule_of(settings: object) -> Schedule:
    """The schedule of a pretraining or a protocol; settings that a pretraining lacks have their defaults."""
    names = [field.name for field in fields(Schedule)]
    return Schedule(**{name: getattr(settings, name) for name in names if hasattr(settings, name)})


def fit(
    model: nn.Module,
    transform: InputTransform,
    labels: Tensor,
    schedule: Schedule,
    *,
    generator: torch.Generator,
    forward: Callable[[Tensor], Tensor] | None = None,
    precision: Precision = "fp32",
    checkpoint: Checkpoint | None = None,
    recorder: Recorder | None = None,
    progress: Progress = silent,
) -> None:
    """Train every parameter of a model by cross-entropy, in the mode it is in.

    Draws are made on the CPU, order before views in each epoch, and moved to the device once an epoch.

    Args:
        model: changed in place.
        transform: gives a step's inputs.
        labels: int64 [N] on the device, positions among the model's outputs.
        schedule: every setting.
        generator: on the CPU; `transform` and `forward` may draw from it too.
        forward: from inputs to logits; the model itself where left out. A compiled step is passed here.
        precision: `bf16` computes the forward pass and the loss by autocast, weights stay float32; the caller is within
            `exact_arithmetic` of it.
        checkpoint: where the run is resumed from and kept.
        recorder: looks at every step; the run is the same bytes without it.
        progress: told after each epoch.

    Raises:
        ViolationError: a value of the model is not finite after an epoch.
        DamagedError, MissingError: as the checkpoint's `resume` and `save`.
    """
    # Not `forward or model`: truth asks a compiled module for its length, which it may lack.
    device, step = labels.device, model if forward is None else forward
    optimizer = optimiser_of(model, schedule)
    first = checkpoint.resume(model, optimizer, generator, recorder) if checkpoint else 0
    for epoch in range(schedule.epochs):
        if epoch in schedule.lr_milestones:
            for group in optimizer.param_groups:
                group["lr"] *= float(schedule.lr_gamma)
        if epoch < first:
            continue
        order = sent(torch.randperm(len(labels), generator=generator), device)
        views = sent(drawn_views(schedule, len(labels), generator), device)
        for start in range(0, len(labels), schedule.batch):
            here = order[start : start + schedule.batch]
            inputs = transform(here, views[start : start + schedule.batch])
            with autocast(device, precision):
                loss = F.cross_entropy(step(inputs), labels[here])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            if recorder:
                recorder.step()
            optimizer.step()
        refuse_diverged(model, schedule, epoch)
        if recorder:
            recorder.epoch()
        if checkpoint and (epoch + 1 == schedule.epochs or (epoch + 1) % checkpoint.every == 0):
            checkpoint.save(epoch + 1, model, optimizer, generator, recorder)
        progress(epoch + 1, schedule.epochs)


def drawn_views(schedule: Schedule, count: int, generator: torch.Generator) -> Tensor:
    """An epoch's views by place in its order: int64 [N]; float32 [N, 3] where they are sub-pixel ones."""
    if schedule.augment == "sub-pixel":
        return torch.rand(count, 3, generator=generator)
    return torch.randint(view_count(schedule.pad, flip=schedule.flip), (count,), generator=generator)


def optimiser_of(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The schedule's optimiser of all parameters that require a gradient, as one fused kernel on a GPU.

    `momentum` is the first beta of Adam and AdamW; their second is 0.999 and their epsilon 1e-8, PyTorch's defaults.
    """
    values = [value for value in model.parameters() if value.requires_grad]
    rate, decay, momentum = (float(x) for x in (schedule.learning_rate, schedule.weight_decay, schedule.momentum))
    # On a CPU the fused form rounds otherwise than the plain one, and pretrainings promise their bytes.
    fused = True if values[0].is_cuda else None
    if schedule.optimiser == "sgd":
        return torch.optim.SGD(
            values, lr=rate, momentum=momentum, weight_decay=decay, nesterov=schedule.nesterov, fused=fused
        )
    kind = torch.optim.Adam if schedule.optimiser == "adam" else torch.optim.AdamW
    return kind(values, lr=rate, betas=(momentum, 0.999), weight_decay=decay, fused=fused)


def refuse_diverged(model: nn.Module, schedule: Schedule, epoch: int) -> None:
    """Raise a ViolationError where a value is not finite; values are checked at once, names only on failure."""
    tensors = {name: torch.isfinite(tensor).all() for name, tensor in model.state_dict().items()}
    if not bool(torch.stack(list(tensors.values())).all()):
        name = next(name for name, finite in tensors.items() if not bool(finite))
        raise ViolationError(
            f"training diverged in epoch {epoch + 1}: tensor {name} is not finite at learning rate "
            f"{schedule.learning_rate}",
            "Lower the learning rate",
        )
