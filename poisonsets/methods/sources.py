"""Training images of a backdoor's source classes, stamped with the trigger: what hidden poisons should resemble."""

from dataclasses import dataclass

import torch
from torch import Tensor

from poisonsets.images import TrainingImages
from poisonsets.interface import Context, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import Trigger


@dataclass(frozen=True)
class SourceImages:
    """Images by their indices into the training split; every call of `stamped` makes them again."""

    training: TrainingImages
    trigger: Trigger
    ids: tuple[int, ...]

    def stamped(self) -> Tensor:
        """The images with the trigger, float32 [n, 3, H, W] in 0..1 on the device."""
        return self.training.stamped(self.ids, self.trigger)


def draw_sources(task: Task, context: Context, trial: int, count: int, *, repeat: bool) -> SourceImages:
    """Draw `count` training images of a trial's source classes with its generator.

    If the classes have fewer images, they are drawn again with `repeat`; otherwise the result is smaller. Raises
    UsageError without a trigger, training images, or an image of these classes.
    """
    if context.training is None or task.trigger is None:
        raise UsageError("the trial has no training images or no trigger", "Give it source classes and a trigger")
    classes = torch.tensor(task.source_classes[trial])
    there = torch.isin(torch.tensor(context.training.labels), classes).nonzero()[:, 0]
    if not len(there):
        raise UsageError(f"no training image is of the source classes {', '.join(map(str, classes.tolist()))}")
    rounds = -(-count // len(there)) if repeat else 1
    orders = [torch.randperm(len(there), generator=context.generators[trial]) for _ in range(rounds)]
    drawn = there[torch.cat(orders)][:count].tolist()
    return SourceImages(context.training, task.trigger, tuple(drawn))
