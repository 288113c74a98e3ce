"""The network that extracts features of a base without one of its own: published weights, at a size for its images."""

from typing import Final

from poisonsets.victims.networks.shape import Shape

NAME: Final = "efficientnet-lite0"
"""Of published weights (`known_weights.KNOWN`) and, as a short name, of their network."""

_LEAST, _MOST, _STEP = 64, 128, 32


def shape_for(side: tuple[int, int]) -> Shape:
    """The network, its input twice the longer side of the images: 64 to 128 pixels, in steps of 32.

    Enlarged, small images keep more of their maps' pixels; at more than 128 pixels an attack's steps take minutes on a
    CPU. The weights were trained at 224 pixels; their features serve at 64.

    Args:
        side: height and width of a base's images.
    """
    wanted = -(-2 * max(side) // _STEP) * _STEP
    return Shape(NAME, input=min(max(wanted, _LEAST), _MOST))
