"""Suite `tinyimagenet-scratch`: the published benchmark's victim trained from scratch on TinyImageNet.

Source: Schwarzschild et al. (2021), section 4 and its code: as `cifar10-scratch`, with all 100,000 images of 200
classes and `vgg16` alone.
"""

from __future__ import annotations

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = (
    Protocol(
        "tinyimagenet-scratch",
        "vgg16",
        size=100_000,
        flip=True,
        training="scratch",
        epochs=200,
        learning_rate="0.1",
        lr_milestones=(100, 150),
        normalise="tinyimagenet",
    ),
)
