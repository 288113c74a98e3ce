"""Suite `cifar10-transfer`: the published benchmark's transfer victims on CIFAR-10.

Source: Schwarzschild et al. (2021), "Just How Toxic is Data Poisoning?", section 4 and its code. A frozen
extractor in eval mode, a fresh linear head, 2,500 images by count, 40 epochs of SGD. `resnet18` is the
benchmark's; `convnet` is ours and has no published figure.
"""

from __future__ import annotations

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = (
    Protocol("cifar10-transfer", "resnet18", size=2500, flip=True),
    Protocol("cifar10-transfer", "convnet", size=2500, flip=True),
)
