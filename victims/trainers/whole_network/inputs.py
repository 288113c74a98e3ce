"""The inputs of a training step: views of its images, or a frozen extractor's features of them."""

from typing import Final

import torch
from torch import Tensor

from poisonsets.victims.networks import Classifier
from poisonsets.victims.precision import Precision, autocast
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.training.loop import InputTransform
from poisonsets.victims.training.views import apply_shifts, apply_views, view_count

EVAL_BATCH: Final = 256
"""Images of a forward pass in eval mode."""


def input_transform(
    network: Classifier, protocol: Protocol, images: Tensor, precision: Precision = "fp32"
) -> InputTransform:
    """What gives a victim's steps their inputs.

    Args:
        network: the victim; where only its head is trained, it gives the features.
        protocol: augmentation and training.
        images: uint8 [N, H, W, 3] on the device, the training set.
        precision: of the passes that give features, which are float32; the caller is within `exact_arithmetic` of it.
    """

    def seen(here: Tensor, views: Tensor) -> Tensor:
        if protocol.augment == "sub-pixel":
            return apply_shifts(images[here], views, protocol.pad, flip=protocol.flip, outside=network.mean)
        return apply_views(images[here], views, protocol.pad, flip=protocol.flip)

    if protocol.training != "frozen":
        return seen

    @torch.no_grad()
    def features(here: Tensor, views: Tensor) -> Tensor:
        with autocast(images.device, precision):
            return network.features(seen(here, views)).float()

    if view_count(protocol.pad, flip=protocol.flip) > 1:
        return features
    every = torch.arange(len(images), device=images.device)
    parts = [every[start : start + EVAL_BATCH] for start in range(0, len(every), EVAL_BATCH)]
    once = torch.cat([features(part, torch.zeros_like(part)) for part in parts])
    return lambda here, _views: once[here]
