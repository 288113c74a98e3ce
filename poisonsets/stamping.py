"""Triggers on tensors: the one integer `stamp` of the contract, so that what is crafted on is what is on disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from poisonsets.manifests.stamp import Trigger, footprint, stamp


def stamped(images: Tensor, trigger: Trigger, ids: Sequence[str]) -> Tensor:
    """The images, rounded to levels, with the trigger on each; no gradient flows through.

    Args:
        images: float32 [N, 3, H, W] in 0..1.
        trigger: what to put on them.
        ids: names each image for a random place, `train/17`.

    Returns:
        float32 [N, 3, H, W], whole levels in 0..1, on the images' device.

    Raises:
        UsageError: the trigger does not fit.
    """
    levels = (images.detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    done = [stamp(level, trigger, name) for level, name in zip(levels, ids, strict=True)]
    result = torch.from_numpy(np.stack(done)) if done else torch.zeros((0, *levels.shape[1:]))
    return (result.permute(0, 3, 1, 2).to(torch.float32) / 255).contiguous().to(images.device)


def covered(trigger: Trigger, ids: Sequence[str], height: int, width: int) -> Tensor:
    """bool [N, 1, H, W]: the pixels that the trigger may change in each of these images.

    Raises:
        UsageError: the trigger does not fit.
    """
    masks = [footprint(trigger, height, width, name) for name in ids]
    return torch.from_numpy(np.stack(masks))[:, None] if masks else torch.zeros((0, 1, height, width)).bool()
