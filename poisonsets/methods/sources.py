"""Training images of a backdoor's source classes with the trigger on: what hidden poisons are to resemble."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from poisonsets.images import TrainingImages
from poisonsets.interface import Context, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import Trigger


@dataclass(frozen=True)
class SourceImages:
    """Images by their indices into the training split; `stamped` makes them anew at every call."""

    training: TrainingImages
    trigger: Trigger
    ids: tuple[int, ...]

    def stamped(self) -> Tensor:
        """float32 [n, 3, H, W] in 0..1 on the device, the trigger on each."""
        return self.training.stamped(self.ids, self.trigger)


def draw_sources(task: Task, context: Context, trial: int, count: int, *, repeat: bool) -> SourceImages:
    """Training images of a trial's source classes, drawn by its generator.

    Args:
        task, context: they must have a trigger and the training images.
        trial: its position in the block.
        count: how many.
        repeat: where the classes have fewer images, whether each is drawn again, or the result is as small as that.

    Raises:
        UsageError: no trigger, or no training image of these classes.
    """
    if context.training is None or task.trigger is None:
        raise UsageError("no training images or no trigger", "Give the trial source classes and a trigger")
    classes = torch.tensor(task.source_classes[trial])
    there = torch.isin(torch.tensor(context.training.labels), classes).nonzero()[:, 0]
    if not len(there):
        raise UsageError(f"no training image is of the source classes {', '.join(map(str, classes.tolist()))}")
    rounds = -(-count // len(there)) if repeat else 1
    generator = context.generators[trial]
    drawn = torch.cat([there[torch.randperm(len(there), generator=generator)] for _ in range(rounds)])[:count]
    return SourceImages(context.training, task.trigger, tuple(drawn.tolist()))
