"""The state of one pickle being read, and the inert values that stand in for what it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


class RefusedError(Exception):
    """The bytes ask for something outside the tables; `opcodes.load` adds the place."""


@dataclass(frozen=True, eq=False)
class Global:
    """An allowed global.

    Attributes:
        name: for errors.
        call: from the tuple of arguments to a value, or to a `Pending` where a state has to follow. It raises
            `RefusedError` or ValueError and must not copy its arguments more than once.
    """

    name: str
    call: Callable[[tuple[Any, ...]], Any]


@dataclass(eq=False)
class Pending:
    """A value whose state follows: the opcode BUILD replaces it, on the stack and in the memo."""

    complete: Callable[[Any], Any]
    memo_keys: list[int] = field(default_factory=list)


Allowed: TypeAlias = Mapping[tuple[str, str], Global]


class Machine:
    """The stack, the marks and the memo while one pickle is read."""

    def __init__(self, data: bytes, allowed: Allowed) -> None:
        self.data = data
        self.allowed = allowed
        self.position = 0
        self.stack: list[Any] = []
        self.below_marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.made = 0

    def take(self, n: int) -> bytes:
        """The next n bytes."""
        end = self.position + n
        if not self.position <= end <= len(self.data):
            raise RefusedError(f"{n} bytes wanted, {len(self.data) - self.position} left: the file is cut")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, n: int) -> int:
        """The next n bytes as an unsigned little-endian integer."""
        return int.from_bytes(self.take(n), "little")

    def line(self) -> bytes:
        """The bytes up to the next line feed, which is skipped."""
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise RefusedError("a line without an end: the file is cut")
        piece = self.take(end - self.position)
        self.position += 1
        return piece

    def since_mark(self) -> list[Any]:
        """The values pushed since the last mark, which is dropped."""
        values, self.stack = self.stack, self.below_marks.pop()
        return values

    def remember(self, key: int) -> None:
        """Put the top of the stack into the memo."""
        value = self.stack[-1]
        self.memo[key] = value
        if isinstance(value, Pending):
            value.memo_keys.append(key)
