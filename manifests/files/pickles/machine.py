"""The state of one pickle being read, and the inert values that stand in for what it names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Call: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""From arguments to a value, or to a `Pending` where a state follows; it copies its arguments at most once."""
Persistent: TypeAlias = Callable[[Any], Any]


class RefusedError(Exception):
    """The bytes ask for something outside the tables; the interpreter adds the place."""


@dataclass(frozen=True, eq=False)
class Global:
    """An allowed global: its name for errors, and its call, which raises `RefusedError` or ValueError.

    Without a call it may be named, not called.
    """

    name: str
    call: Call | None


Allowed: TypeAlias = Mapping[tuple[str, str], Global]


def global_table(calls: Mapping[tuple[str, str], Call | None]) -> dict[tuple[str, str], Global]:
    """A `Global` for each (module, name)."""
    return {key: Global(".".join(key), call) for key, call in calls.items()}


def without_arguments(make: Callable[[], Any]) -> Call:
    """A call that takes no arguments."""

    def call(arguments: tuple[Any, ...]) -> Any:
        if arguments:
            raise RefusedError("arguments where data has none")
        return make()

    return call


@dataclass(eq=False)
class Pending:
    """A value whose state follows: the opcode BUILD replaces it, on the stack and in the memo."""

    complete: Callable[[Any], Any]
    memo_keys: list[int] = field(default_factory=list)


class Ordered(dict[Any, Any]):
    """A `collections.OrderedDict`. The opcode BUILD gives it attributes (`_metadata` of a state dict); none is kept."""


@dataclass(eq=False, repr=False)
class Machine:
    """The stack, the marks and the memo while one pickle is read; with `whole` it must end where the data does."""

    data: bytes
    allowed: Allowed
    position: int = 0
    persistent: Persistent | None = None
    whole: bool = True
    stack: list[Any] = field(default_factory=list)
    below_marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    made: int = 0  # bytes that calls made

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

    def pop(self, n: int) -> list[Any]:
        """The last n values, which leave the stack, in the order they were pushed."""
        if len(self.stack) < n:
            raise RefusedError(f"{n} values wanted, {len(self.stack)} on the stack")
        values = self.stack[-n:]
        del self.stack[-n:]
        return values

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


# Opcodes that data never needs, for error messages.
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
