"""Suite `transfer`: a linear head on a frozen network, for any base and any network.

It is not published. Size, classes and composition are the trial's own. Images are shown as they are, so that each
passes through the network once, whatever its size; the head is trained as in `cifar10-transfer`.
"""

from typing import Final

from poisonsets.victims.protocols import Protocol

FOLLOWS_EXTRACTOR: Final = True
SUITE: Final = (Protocol("transfer", "resnet18", size=None, flip=False, composition="trial", augment="none", pad=0),)
