"""The normalisation of a network trained from scratch: the statistics of its images, none, or published constants."""

from typing import Final, TypeAlias

import numpy as np

from poisonsets.manifests.files.pixels import Images

Three: TypeAlias = tuple[str, str, str]

NONE: Final[tuple[Three, Three]] = (("0", "0", "0"), ("1", "1", "1"))
# The first two: learning_module.py of the benchmark of Schwarzschild et al. (2021). Its deviations of CIFAR-10 are
# smaller than those of the pixels (0.2470, 0.2435, 0.2616).
CONSTANTS: Final[dict[str, tuple[Three, Three]]] = {
    "cifar10": (("0.4914", "0.4822", "0.4465"), ("0.2023", "0.1994", "0.201")),
    "tinyimagenet": (("0.4802", "0.4481", "0.3975"), ("0.2302", "0.2265", "0.2262")),
    "imagenet": (("0.485", "0.456", "0.406"), ("0.229", "0.224", "0.225")),
}
"""Mean and standard deviation of the three channels in units of 0..1, by a protocol's `normalise`."""


def normalisation(name: str, images: Images) -> tuple[Three, Three]:
    """Mean and standard deviation as decimal strings.

    Args:
        name: the `normalise` of a protocol or a pretraining.
        images: uint8 [N, H, W, 3]; `own` means their statistics.
    """
    if name == "none":
        return NONE
    return channel_statistics(images) if name == "own" else CONSTANTS[name]


def channel_statistics(images: Images) -> tuple[Three, Three]:
    """Mean and standard deviation of each channel of uint8 [N, H, W, 3], in units of 0..1, to six decimals.

    Computed from an integer histogram, so that summation order cannot change the digits. The deviation of a constant
    channel is given as 1.
    """
    means, deviations = [], []
    levels = np.arange(256)
    for channel in range(3):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        n, total, squares = int(counts.sum()), int(counts @ levels), int(counts @ levels**2)
        variance = (n * squares - total**2) / n**2
        means.append(f"{total / n / 255:.6f}")
        deviations.append(f"{max(variance**0.5 / 255, 1e-6) if variance else 1:.6f}")
    return (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])
