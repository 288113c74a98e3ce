"""Suite `finetune`: end-to-end victims of any base and any network.

It is not published. The settings are those of `cifar10-finetune`; size, classes and composition are the trial's own.
"""

from dataclasses import replace
from typing import Final

from poisonsets.victims.protocols import cifar10_finetune

FOLLOWS_EXTRACTOR: Final = True
SUITE: Final = (replace(cifar10_finetune.SUITE[0], suite="finetune", size=None, composition="trial"),)
