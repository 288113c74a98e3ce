"""Suite `tinyimagenet-transfer`: the published benchmark's transfer victims on the second half of TinyImageNet.

Source: Schwarzschild et al. (2021), section 4 and its code. As `cifar10-transfer`, with all 50,000 images of 100
classes. In the benchmark `vgg16` is the white-box victim, `resnet34` and `mobilenetv2` are the black-box ones.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = tuple(
    Protocol("tinyimagenet-transfer", network, size=50_000, flip=True)
    for network in ("vgg16", "resnet34", "mobilenetv2")
)
