"""Suite `witches-brew-imagenet`: the victim of Witches' Brew on ImageNet, 224x224 pixels, one a trial.

Source: Geiping et al. (2021), "Witches' Brew": the settings of `witches-brew-cifar10` with sub-pixel shifts of up to 28
pixels and ImageNet's usual normalisation. No base of this project has such images yet: the suite is a preset.
"""

from dataclasses import replace
from typing import Final

from poisonsets.victims.protocols import witches_brew_cifar10

SUITE: Final = tuple(
    replace(one, suite="witches-brew-imagenet", network="torchvision:resnet18", normalise="imagenet", pad=28)
    for one in witches_brew_cifar10.SUITE
)
