"""Suite `witches-brew-cifar10`: the victims of Witches' Brew on CIFAR-10, 40 epochs from scratch.

Source: Geiping et al. (2021), "Witches' Brew", and its code's preset `conservative`: Nesterov momentum, learning rate
0.1 with drops at 14, 24 and 35, sub-pixel shifts of up to 4 pixels and mirror images, poisons in the place of
their bases. The published rates are means over 8 victims a trial: score with `--victim-seeds 0-7`. The code's
constants are the statistics of CIFAR-10's training images, so `own` is what it does.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = (
    Protocol(
        "witches-brew-cifar10",
        "resnet18",
        size=None,
        flip=True,
        composition="in-place",
        training="scratch",
        nesterov=True,
        learning_rate="0.1",
        lr_milestones=(14, 24, 35),
        weight_decay="0.0005",
        augment="sub-pixel",
    ),
)
