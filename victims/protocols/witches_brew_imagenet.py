"""Suite `witches-brew-imagenet`: the victim of Witches' Brew on ImageNet, 224x224 pixels, one a trial.

Source: Geiping et al. (2021), "Witches' Brew": the recipe of `witches-brew-cifar10` with sub-pixel shifts of up to 28
pixels and ImageNet's usual normalisation. No base of this project has such images yet: the suite is a preset.
"""

from __future__ import annotations

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = (
    Protocol(
        "witches-brew-imagenet",
        "torchvision:resnet18",
        size=None,
        flip=True,
        composition="in-place",
        training="scratch",
        nesterov=True,
        learning_rate="0.1",
        drops=(14, 24, 35),
        weight_decay="0.0005",
        normalise="imagenet",
        augment="sub-pixel",
        pad=28,
    ),
)
