"""Suite `cifar10-transfer`: the published benchmark's transfer victims on CIFAR-10.

Source: Schwarzschild et al. (2021), "Just How Toxic is Data Poisoning?", section 4 and its code. A frozen
extractor in eval mode, a fresh linear head, 2,500 images by count, 40 epochs of SGD. In the benchmark `resnet18`
is the white-box victim, `vgg11` and `mobilenetv2` are the black-box ones; here the level is computed. `convnet` is
ours and has no published figure.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = tuple(
    Protocol("cifar10-transfer", network, size=2500, flip=True)
    for network in ("resnet18", "vgg11", "mobilenetv2", "convnet")
)
