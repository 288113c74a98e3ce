"""The state of one pickle being read, and the inert values that stand in for what it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias


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
Persistent: TypeAlias = Callable[[Any], Any]


class Machine:
    """The stack, the marks and the memo while one pickle is read; with `whole` it must end where the data does."""

    def __init__(
        self,
        data: bytes,
        allowed: Allowed,
        *,
        position: int = 0,
        persistent: Persistent | None = None,
        whole: bool = True,
    ) -> None:
        self.data = data
        self.allowed = allowed
        self.position = position
        self.persistent = persistent
        self.whole = whole
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


# Opcodes that are never needed for data; known to the error message only.
OTHERS: Final[dict[bytes, str]] = {
    b"2": "DUP",
    b"i": "INST",
    b"o": "OBJ",
    b"P": "PERSID",
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"\x8f": "EMPTY_SET",
    b"\x90": "ADDITEMS",
    b"\x91": "FROZENSET",
    b"\x92": "NEWOBJ_EX",
    b"\x97": "NEXT_BUFFER",
    b"\x98": "READONLY_BUFFER",
}
