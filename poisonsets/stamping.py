"""Triggers on tensors: the one integer `stamp` of the contract, so that what is crafted on is what is on disk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from poisonsets.manifests.stamp import Trigger, stamp_all


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
    result = torch.from_numpy(stamp_all(levels, trigger, ids))
    return (result.permute(0, 3, 1, 2).to(torch.float32) / 255).contiguous().to(images.device)
