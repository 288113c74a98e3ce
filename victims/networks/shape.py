"""How a network is spelled: `NAME[@key=value,...]`, and what that fixes before classes and normalisation are known."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.limits import IMAGE_SIDE
from poisonsets.manifests.spelling import parse_decimal, parse_pairs, unknown

SETTINGS: Final = {"width": "0.25", "input": "96"}
"""The keys behind the `@`, each with an example; no protocol has a setting of these names."""

SHORT_NAMES: Final = {
    **{f"efficientnet-lite{number}": f"timm:tf_efficientnet_lite{number}" for number in range(3)},
}
"""Names that stand for longer ones, which are what is recorded."""


@dataclass(frozen=True)
class Shape:
    """A network's architecture.

    Attributes:
        name: the registered one; a short name is replaced by the one it stands for.
        width: multiplier of every channel count, a plain decimal string.
        input: the side, in pixels, that the first layer brings images to; None where they stay as they are.

    Raises:
        UsageError: the width or the input is out of range.
    """

    name: str
    width: str = "1"
    input: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", full_name(self.name))
        object.__setattr__(self, "width", parse_width(self.width))
        if self.input is not None and not 1 <= self.input <= IMAGE_SIDE:
            raise UsageError(f"input is {self.input} pixels, wanted 1 to {IMAGE_SIDE}")

    def __str__(self) -> str:
        options = [] if self.input is None else [f"input={self.input}"]
        if self.width != "1":
            options.append(f"width={self.width}")
        return self.name + (f"@{','.join(options)}" if options else "")


def full_name(name: str) -> str:
    """The name that a short one stands for; any other as it is."""
    return SHORT_NAMES.get(name, name)


def parse_shape(text: str) -> Shape:
    """The architecture that is spelled `NAME[@width=W,input=S]`; whether there is such a network is not asked.

    Raises:
        UsageError: an unknown or repeated key, or a value without a meaning.
    """
    name, at, options = text.partition("@")
    pairs = parse_pairs(options.split(",") if at else (), f"network {text[:100]!r}")
    for key in pairs:
        if key not in SETTINGS:
            raise unknown("network setting", key, SETTINGS)
    side = parse_input(pairs["input"]) if "input" in pairs else None
    return Shape(name, pairs.get("width", "1"), side)


def parse_width(text: str) -> str:
    """The canonical spelling of a width multiplier.

    Raises:
        UsageError: it is no plain decimal, or not above 0 and at most 16.
    """
    width = parse_decimal(text, "width")
    if not 0 < Decimal(width) <= 16:
        raise UsageError(f"width is {width}, wanted above 0 and at most 16")
    return width


def parse_input(text: str) -> int:
    """The input size that is spelled; UsageError where it is no whole number of pixels in range."""
    # int() alone would take signs, spaces, underscores and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= IMAGE_SIDE):
        found = f"input={text[:40]} is no side of 1 to {IMAGE_SIDE} pixels"
        raise UsageError(found, f"Write for example input={SETTINGS['input']}")
    return int(text)
