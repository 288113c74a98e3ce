"""Suite `tinyimagenet-scratch`: the published benchmark's victim trained from scratch on TinyImageNet.

Source: Schwarzschild et al. (2021), section 4 and its code: as `cifar10-scratch`, with all 100,000 images of 200
classes and `vgg16` alone.
"""

from dataclasses import replace
from typing import Final

from poisonsets.victims.protocols import cifar10_scratch

SUITE: Final = (
    replace(
        cifar10_scratch.SUITE[0], suite="tinyimagenet-scratch", network="vgg16", size=100_000, normalise="tinyimagenet"
    ),
)
