"""How names, numbers and settings are typed, and the errors that answer a wrong spelling."""

import difflib
import re
import shlex
from collections.abc import Iterable
from fractions import Fraction

from poisonsets.manifests.errors import UsageError


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like a word, ignoring case; None where none is similar."""
    names = {name.lower(): name for name in sorted(known, reverse=True)}
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    return names[near[0]] if near else None


def unknown(what: str, word: str, known: Iterable[str]) -> UsageError:
    """The error, for the caller to raise, of a word that names no `what` (such as `protocol`) among the known ones."""
    choices = sorted(set(known))
    near = nearest(word, choices)
    remedy = f"Did you mean {near}?" if near else f"Known: {', '.join(choices)}"
    return UsageError(f"no {what} is called {word[:100]!r}", remedy)


def command(*words: object) -> str:
    """A command line of ours in backticks, quoted so that it can be pasted."""
    return f"`{shlex.join(['poisonsets', *map(str, words)])}`"


def printable(text: str, most: int = 400) -> str:
    """Text from an untrusted source as one line without control characters, at most so many characters."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return escaped if len(escaped) <= most else escaped[: most - 3] + "..."


def parse_share(text: str, option: str) -> Fraction:
    """The share from 0 to 1, both included, that was typed for an option: `1/2`, `0.5` or `50%`.

    Raises UsageError where it is spelled otherwise, or is more than 1.
    """
    if re.fullmatch(r"[0-9]{1,9}(/0*[1-9][0-9]{0,8}|(\.[0-9]{1,9})?%?)", text):
        found = Fraction(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        if found <= 1:
            return found
    raise UsageError(f"{option} {printable(text)[:40]}: not a share from 0 to 1", "Write it like 1/2, 0.5 or 50%")


def parse_decimal(text: str, what: str) -> str:
    """The one spelling of a decimal without sign and exponent that ids have: `0.250` becomes `0.25`.

    Raises UsageError where it is spelled otherwise; `what`, in the error, is the setting's name.
    """
    # Few digits on purpose: these strings come from files of strangers and become layer sizes and step sizes.
    if not re.fullmatch(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,12})?", text):
        raise UsageError(f"{what} is {text[:40]!r}, which is no plain decimal", "Write it as 0.25 or 2")
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_three(text: str, option: str) -> tuple[str, str, str]:
    """The decimals from 0 to 9, one a channel, that were typed for an option: `0.485,0.456,0.406`, or one for all.

    Raises UsageError where they are spelled otherwise.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (1, 3) or not all(re.fullmatch(r"[0-9](\.[0-9]{1,12})?", part) for part in parts):
        raise UsageError(
            f"{option} {printable(text)[:60]}: not a decimal a channel", "Write it like 0.485,0.456,0.406 or 0.5"
        )
    first, second, third = (parse_decimal(part, option) for part in parts * (3 // len(parts)))
    return first, second, third


def parse_pairs(words: Iterable[str], owner: str) -> dict[str, str]:
    """The settings in words `key=value`; `owner`, in the error, is what they are settings of.

    Raises UsageError where a word is spelled otherwise, or a key is given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{owner}: {word[:100]!r} is no option", "Write key=value")
        if key in found:
            raise UsageError(f"{owner}: {key} is given twice", "Give it once")
        found[key] = value
    return found


def parse_numbers(text: str, option: str) -> list[int]:
    """The numbers that were typed for an option, ascending, each once: `0-9`, `3` or `0-4,7`.

    Raises UsageError where they are spelled otherwise, or a range runs backwards or is too long.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        if match is None:
            raise UsageError(f"{option} {text}: not a list of whole numbers", "Write it like 0-9 or 0-3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 100_000:
            fault = f"the range {part.strip()} runs backwards or is too long"
            raise UsageError(f"{option} {text}: {fault}", "Write it like 0-9")
        found.extend(range(first, last + 1))
    return sorted(set(found))


def format_numbers(numbers: Iterable[int]) -> str:
    """Whole numbers in a few characters, as `parse_numbers` reads them: `0-9`, `0-3,7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
