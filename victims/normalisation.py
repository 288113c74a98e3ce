"""The normalisation of a victim trained from scratch: the images' own, none, or a published set of constants."""

from __future__ import annotations

from typing import Final, TypeAlias

from poisonsets.manifests.bases.dataset import Images
from poisonsets.victims.training import channel_statistics

Three: TypeAlias = tuple[str, str, str]

NONE: Final[tuple[Three, Three]] = (("0", "0", "0"), ("1", "1", "1"))
# The first two: learning_module.py of the benchmark of Schwarzschild et al. (2021). Its deviations of CIFAR-10 are
# smaller than those of the pixels (0.2470, 0.2435, 0.2616).
CONSTANTS: Final[dict[str, tuple[Three, Three]]] = {
    "cifar10": (("0.4914", "0.4822", "0.4465"), ("0.2023", "0.1994", "0.201")),
    "tinyimagenet": (("0.4802", "0.4481", "0.3975"), ("0.2302", "0.2265", "0.2262")),
    "imagenet": (("0.485", "0.456", "0.406"), ("0.229", "0.224", "0.225")),
}
"""Mean and standard deviation of the three channels in units of 0..1, by the name a protocol has for them."""


def normalisation(name: str, images: Images) -> tuple[Three, Three]:
    """Mean and standard deviation as decimal strings.

    Args:
        name: a protocol's `normalise`.
        images: uint8 [N, H, W, 3], whose statistics `own` stands for.
    """
    if name == "none":
        return NONE
    return channel_statistics(images) if name == "own" else CONSTANTS[name]
