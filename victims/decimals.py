"""Fractions among settings are decimal strings with one spelling each, so that ids are exact."""

from __future__ import annotations

import re
from decimal import Decimal

from poisonsets.manifests.errors import UsageError

# Short on purpose: these strings come from files of strangers and become layer sizes and step sizes.
_PLAIN = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,12})?")


def plain_decimal(text: str, what: str) -> str:
    """The shortest plain spelling of a non-negative decimal ("0.250" becomes "0.25").

    Args:
        text: digits with at most one point, no sign, no exponent.
        what: the setting's name, for the error.

    Raises:
        UsageError: the text is not such a number.
    """
    if not _PLAIN.fullmatch(text):
        raise UsageError(f"{what} is {text[:40]!r}, which is no plain decimal", "Write it as 0.25 or 2")
    return text.rstrip("0").rstrip(".") if "." in text else text


def network_width(text: str) -> str:
    """The plain spelling of a network's width multiplier, which lies above 0 and at most 16.

    Raises:
        UsageError: the text is no plain decimal or out of range.
    """
    width = plain_decimal(text, "width")
    if not 0 < Decimal(width) <= 16:
        raise UsageError(f"width is {width}, wanted above 0 and at most 16")
    return width
