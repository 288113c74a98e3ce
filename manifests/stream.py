"""Seeded integers that no library release can change: sha256 in counter mode.

NumPy's and PyTorch's generators change their streams between releases; a trial drawn here is the same in ten years.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
WORD = 1 << 64


class Stream:
    """An endless sequence of uniform 64-bit words; equal keys give equal streams, different keys independent ones.

    Block i is sha256(the key as a JSON list || i as 8 big-endian bytes), four big-endian words.
    """

    def __init__(self, *key: str | int) -> None:
        self._prefix = json.dumps(list(key), separators=(",", ":"), ensure_ascii=False).encode()
        self._words = self._generate()

    def _generate(self) -> Iterator[int]:
        block = 0
        while True:
            digest = hashlib.sha256(self._prefix + block.to_bytes(8, "big")).digest()
            for start in range(0, 32, 8):
                yield int.from_bytes(digest[start : start + 8], "big")
            block += 1

    def below(self, n: int) -> int:
        """A uniform integer in 0..n-1, without modulo bias: words past the last multiple of n are skipped.

        Raises ValueError where n is not in 1..2**64.
        """
        if not 1 <= n <= WORD:
            raise ValueError(f"below({n}): n must be in 1..2**64")
        limit = WORD - WORD % n
        return next(word for word in self._words if word < limit) % n

    def choice(self, items: Sequence[Item]) -> Item:
        """One item, each equally likely."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[Item], k: int) -> list[Item]:
        """k items from different positions in random order: the first k steps of a Fisher-Yates shuffle.

        Raises ValueError where there are fewer than k.
        """
        if k > len(items):
            raise ValueError(f"cannot draw {k} of {len(items)} items")
        pool = list(items)
        for i in range(k):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def seed(self) -> int:
        """A seed in 0..2**63-1 for a generator of another library."""
        return next(self._words) >> 1
