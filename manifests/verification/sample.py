"""A sample of a set's trials, drawn from a seed: what `verify --sample 3/10` reads, and what it may miss."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.stream import Stream


@dataclass(frozen=True)
class Sample:
    """Part `part` of `parts` of a set's trials, which `seed` shuffles.

    The parts 1/N to N/N of one seed partition the trials; their sizes differ by one at most. Where a set has fewer
    trials than N, a part that would be empty is one trial of another part.
    """

    part: int
    parts: int
    seed: int = 0

    def chosen(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """The trials of this part, ascending, out of the numbers of all trials, at least one."""
        order = Stream("sample", self.seed).sample(numbers, len(numbers))
        return tuple(sorted(order[self.part - 1 :: self.parts] or [order[(self.part - 1) % len(order)]]))


@dataclass(frozen=True)
class SampleCoverage:
    """A sample, and the numbers, ascending, of the `trials` that were read and of the `unread` ones."""

    part: int
    parts: int
    seed: int
    trials: tuple[int, ...]
    unread: tuple[int, ...]

    def lines(self) -> tuple[str, ...]:
        """What was read and how much it can miss, in words."""
        read, every = len(self.trials), len(self.trials) + len(self.unread)
        counts = sorted({1, math.ceil(Fraction(every, 100)), math.ceil(Fraction(every, 10))})
        odds = "; ".join(f"{bad} of {every}: {float(miss_probability(every, read, bad)):.3g}" for bad in counts)
        return (
            f"read: the manifest, all names and sizes, and {read} of {every} trials "
            f"(part {self.part}/{self.parts} of seed {self.seed})",
            f"the probability that a part of this size holds none of the bad trials, if so many are bad: {odds}; "
            "it holds against an author who could not know the seed",
        )


def parse_sample(text: str, seed: int) -> Sample:
    """The sample `I/N` of a seed, I from 1 to N.

    Raises:
        UsageError: the text is not of this form, or there is no such part.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--sample {text}: no part of a whole", "Write 1/10 to 10/10")
    return Sample(int(match[1]), int(match[2]), seed)


def miss_probability(trials: int, read: int, bad: int) -> Fraction:
    """The probability that `read` trials, drawn at random, include none of the `bad` ones."""
    return Fraction(math.comb(trials - bad, read), math.comb(trials, read))
