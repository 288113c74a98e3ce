"""Suite `digits-transfer`: the benchmark's transfer protocol, scaled to scikit-learn's digits.

Settings are those of `cifar10-transfer` but for the size, 500 images of the five classes that the extractor has not
seen, and for mirror images, which show no digits.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

SUITE: Final = (Protocol("digits-transfer", "convnet", size=500, flip=False),)
