"""Suite `scratch`: victims from scratch on any base, with any network.

It is not published. The settings are those of `witches-brew-cifar10`, but for the views: whole pixels, and no mirror
images, which not every base may have. Size, classes and composition are the trial's own.
"""

from dataclasses import replace
from typing import Final

from poisonsets.victims.protocols import witches_brew_cifar10

SUITE: Final = tuple(
    replace(one, suite="scratch", composition="trial", augment="crop", flip=False) for one in witches_brew_cifar10.SUITE
)
