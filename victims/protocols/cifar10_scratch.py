"""Suite `cifar10-scratch`: the published benchmark's victims trained from scratch on CIFAR-10.

Source: Schwarzschild et al. (2021), section 4 and its code: 50,000 images, 200 epochs of SGD, learning rate 0.1 with
drops at 100 and 150, normalisation by the code's constants, whose deviations are not those of CIFAR-10's pixels. The
published rate is the mean over the three networks.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = tuple(
    Protocol(
        "cifar10-scratch",
        network,
        size=50_000,
        flip=True,
        training="scratch",
        epochs=200,
        learning_rate="0.1",
        lr_milestones=(100, 150),
        normalise="cifar10",
    )
    for network in ("resnet18", "mobilenetv2", "vgg11")
)
