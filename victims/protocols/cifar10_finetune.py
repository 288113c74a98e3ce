"""Suite `cifar10-finetune`: end-to-end victims as Convex Polytope and Bullseye Polytope train them, on CIFAR-10.

Source: Zhu et al. (2019) and Aghakhani et al. (2021) with their codes: every weight of a pre-trained network is
trained for 60 epochs with Adam at 0.0001, tenfold lower from epochs 30 and 45, on the first 50 images of each class,
without augmentation and with the network in eval mode. The networks are those of `cifar10-transfer`: our choice.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = tuple(
    Protocol(
        "cifar10-finetune",
        network,
        size=500,
        flip=False,
        training="end-to-end",
        optimiser="adam",
        epochs=60,
        learning_rate="0.0001",
        lr_milestones=(30, 45),
        weight_decay="0.0005",
        augment="none",
        pad=0,
    )
    for network in ("resnet18", "vgg11", "mobilenetv2")
)
