"""What a base's source was found to hold, for the summary of `base add`: what was taken, and what was passed over."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

EXAMPLES: Final = 3


@dataclass(frozen=True)
class PassedOver:
    """Things of one kind that were passed over, or read with a loss.

    Attributes:
        what: what they are, in words.
        count: how many.
        examples: the names of the first.
        remedy: how to have them taken; may be empty.
    """

    what: str
    count: int
    examples: tuple[str, ...]
    remedy: str = ""

    def line(self) -> str:
        """One line: `3 files that are no images (notes.txt, a.csv, b.csv)`."""
        more = ", ..." if self.count > len(self.examples) else ""
        shown = f" ({', '.join(self.examples)}{more})" if self.examples else ""
        return f"{self.count} {self.what}{shown}{f'. {self.remedy}' if self.remedy else ''}"


@dataclass(frozen=True)
class Inventory:
    """What a source was found to hold.

    Attributes:
        origins: where each split was found, in words; a held-out one has none.
        passed: what it holds besides.
        sizes: how many images have each height and width in the source.
    """

    origins: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[PassedOver, ...] = ()
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)


class Tally:
    """Counts what a reader meets: the sizes of images, and by kind what it passes over."""

    def __init__(self) -> None:
        self.sizes: Counter[tuple[int, int]] = Counter()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], list[str]] = {}

    def add(self, what: str, name: str, *, remedy: str = "", count: int = 1) -> None:
        """Count one more, or `count` that go by one name."""
        key = what, remedy
        self._counts[key] += count
        examples = self._examples.setdefault(key, [])
        if len(examples) < EXAMPLES and name not in examples:
            examples.append(name)

    def inventory(self, **origins: str) -> Inventory:
        """All of it, kinds in the order in which they were first met; `origins` by split, empty ones left out."""
        passed = tuple(
            PassedOver(what, self._counts[what, remedy], tuple(names), remedy)
            for (what, remedy), names in self._examples.items()
        )
        return Inventory({split: origin for split, origin in origins.items() if origin}, passed, self.sizes)


def first_ten(names: Iterable[str]) -> str:
    """The first ten names of many, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f", and {len(listed) - 10} more" if len(listed) > 10 else "")
