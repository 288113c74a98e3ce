"""The base's training split as an attack reads it: floats on the device, stamped with a trigger on request."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger, stamp_all, train_id


class TrainingImages:
    """The base's training split by index; its labels are int64 [N]."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self.labels = split.labels
        self._levels = split.images
        self._device = device

    @cached_property
    def _resident(self) -> tuple[Tensor, Tensor]:
        """Images and labels on the device, where they stay."""
        return torch.from_numpy(self._levels).to(self._device), torch.from_numpy(self.labels).to(self._device)

    def resident(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Images float32 [n, 3, H, W] in 0..1 and labels int64 [n] by ids int64 [n], all of them on the device.

        The whole split moves there at the first call and stays: no later one waits for the device.
        """
        levels, labels = self._resident
        return (levels[ids].movedim(-1, -3).float() / 255).contiguous(), labels[ids]

    def images(self, ids: Sequence[int]) -> Tensor:
        """float32 [n, 3, H, W] in 0..1 on the device."""
        return as_floats(self._levels[list(ids)], self._device)

    def stamped(self, ids: Sequence[int], trigger: Trigger) -> Tensor:
        """The same images with a trigger, placed by each image's id."""
        return as_floats(stamp_training(self._levels[list(ids)], trigger, ids), self._device)


def as_floats(images: Images, device: torch.device) -> Tensor:
    """uint8 [..., H, W, 3] to float32 [..., 3, H, W] in 0..1."""
    return (torch.from_numpy(images).movedim(-1, -3).to(device).float() / 255).contiguous()


def stamp_training(images: Images, trigger: Trigger, ids: Sequence[int]) -> Images:
    """Stamp training images, or poisons made of them, uint8 [N, H, W, 3]; each id places its trigger.

    Raises UsageError if the trigger does not fit.
    """
    return stamp_all(images, trigger, [train_id(index) for index in ids])
