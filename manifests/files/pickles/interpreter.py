"""Foreign pickles become plain values and nothing in them is ever called: an interpreter of data opcodes.

It knows the opcodes of protocols 0 to 5 that build lists, tuples, dicts, numbers, strings, None and booleans, and a
table of allowed globals, each replaced by an inert call. Every other opcode or global is an error that names its
position. The standard unpickler is not involved.

Bounds: one step an opcode and at most `STEPS` of them, so lists, memo and stack are bounded too; arrays are views of
the file's bytes; bytes that calls make never add up to more than the file. Nothing recurses.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pickles.machine import (
    OTHERS,
    Allowed,
    Global,
    Machine,
    Ordered,
    Pending,
    Persistent,
    RefusedError,
)
from poisonsets.manifests.files.pickles.numpy_globals import NUMPY
from poisonsets.manifests.files.pickles.protocol0 import decimal, quoted

Handler: TypeAlias = Callable[[Machine], object]

STEPS: Final = 2_000_000
LONGEST_INTEGER: Final = 16  # bytes
# What a handler may raise when the bytes make no sense; all of it is damage, none of it a bug of ours.
MALFORMED: Final = (RefusedError, ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error)


def load(data: bytes, where: str, allowed: Allowed = NUMPY) -> Any:
    """The value a pickle describes.

    Args:
        data: the whole pickle; the caller bounds its size before reading.
        where: the file's name, for errors.
        allowed: globals by (module, name); by default NumPy's arrays, dtypes and scalars.

    Returns:
        Lists, tuples, dicts (keys are strings, bytes or integers; `Ordered` for an OrderedDict), int, float, bool,
        None, str, bytes (also for Python 2 strings) and read-only arrays. NumPy scalars become Python numbers. A list
        may contain itself: callers check types level by level and never walk the value by recursion.

    Raises:
        DamagedError: an opcode or global outside the tables, or malformed, cut or trailing bytes.
    """
    return _run(Machine(data, allowed), where)


def load_first(
    data: bytes, where: str, allowed: Allowed, *, start: int = 0, persistent: Persistent | None = None
) -> tuple[Any, int]:
    """The pickle that begins at byte `start` of a file that may hold several, and where it ends.

    Args:
        data, where, allowed: as `load`.
        start: the pickle's first byte.
        persistent: from a persistent id to the inert value that stands for it; None refuses such ids.

    Raises DamagedError as `load`.
    """
    machine = Machine(data, allowed, start, persistent, whole=False)
    return _run(machine, where), machine.position


def _run(machine: Machine, where: str) -> Any:
    for _ in range(STEPS):
        start, name = machine.position, "the next opcode"
        try:
            code = machine.take(1)
            name, handler = OPCODES.get(code) or (OTHERS.get(code, f"byte {code.hex()}"), _refuse)
            handler(machine)
        except MALFORMED as error:
            reason = ascii(str(error))[1:-1][:160]
            raise DamagedError(
                f"{where}: pickle opcode {name} at byte {start}: {reason}",
                "Only plain lists, dicts, numbers and numpy arrays are read; nothing in it was executed",
            ) from error
        if code == b".":
            return machine.stack[0]
    raise DamagedError(f"{where}: more than {STEPS} pickle opcodes")


def _refuse(_machine: Machine) -> NoReturn:
    raise RefusedError("this opcode is never needed for data and is refused")


def _push(make: Callable[[Machine], Any]) -> Handler:
    def handler(machine: Machine) -> None:
        value = make(machine)  # first, for it may replace the stack
        machine.stack.append(value)

    return handler


def _mark(machine: Machine) -> None:
    machine.below_marks.append(machine.stack)
    machine.stack = []


def _stop(machine: Machine) -> None:
    if len(machine.stack) != 1 or machine.below_marks:
        raise RefusedError("the pickle ends with other than one value")
    if machine.whole and machine.position != len(machine.data):
        raise RefusedError(f"{len(machine.data) - machine.position} bytes follow the end of the pickle")


def _protocol(machine: Machine) -> None:
    version = machine.number(1)
    if version > 5:
        raise RefusedError(f"protocol {version} is unknown")


def _text_integer(machine: Machine) -> int | bool:
    line = machine.line()
    if line in (b"00", b"01"):
        return line == b"01"
    return decimal(line)


def _long(machine: Machine, length: int) -> int:
    if length > LONGEST_INTEGER:
        raise RefusedError(f"an integer of {length} bytes, at most {LONGEST_INTEGER} are read")
    return int.from_bytes(machine.take(length), "little", signed=True)


def _text(machine: Machine, length: int) -> str:
    return machine.take(length).decode("utf-8", "surrogatepass")


def _extend(machine: Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not list:
        raise RefusedError("values are appended to something that is no list")
    target.extend(values)


def _update(target: Any, flat: list[Any]) -> Any:
    if type(target) not in (dict, Ordered) or len(flat) % 2:
        raise RefusedError("keys and values do not come in pairs for a dict")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        # Hashing a deeply nested tuple would overflow the C stack, so keys are flat.
        if type(key) not in (str, bytes, int):
            raise RefusedError("a dict key that is neither a string nor an integer")
        target[key] = value
    return target


def _set_items(machine: Machine, flat: list[Any]) -> None:
    _update(machine.stack[-1], flat)


def _find(machine: Machine, module: str, name: str) -> Global:
    if (module, name) not in machine.allowed:
        raise RefusedError(f"the global {module[:60]}.{name[:60]} is not allowed")
    return machine.allowed[module, name]


def _stack_global(machine: Machine) -> Global:
    module, name = machine.pop(2)
    if not (type(name) is type(module) is str):
        raise RefusedError("a global that is not named by strings")
    return _find(machine, module, name)


def _call(machine: Machine) -> Any:
    function, arguments = machine.pop(2)
    if not isinstance(function, Global) or type(arguments) is not tuple:
        raise RefusedError("a call of something that is not an allowed global")
    if function.call is None:
        raise RefusedError(f"{function.name} is called; data only names it")
    value = function.call(arguments)
    if isinstance(value, bytes):
        machine.made += len(value)
        if machine.made > len(machine.data):
            raise RefusedError("calls made more bytes than the file has")
    return value


def _build(machine: Machine) -> Any:
    pending, state = machine.pop(2)
    if type(pending) is Ordered:
        return pending
    if not isinstance(pending, Pending):
        raise RefusedError("a state for something that takes none")
    value = pending.complete(state)
    for key in pending.memo_keys:
        machine.memo[key] = value
    return value


def _persistent(machine: Machine) -> Any:
    if machine.persistent is None:
        _refuse(machine)
    return machine.persistent(machine.stack.pop())


def _frame(machine: Machine) -> None:
    length = machine.number(8)
    if length > len(machine.data) - machine.position:
        raise RefusedError("a frame longer than the file")


OPCODES: Final[dict[bytes, tuple[str, Handler]]] = {
    b"\x80": ("PROTO", _protocol),
    b"\x95": ("FRAME", _frame),
    b".": ("STOP", _stop),
    b"(": ("MARK", _mark),
    b"0": ("POP", lambda m: m.pop(1)),
    b"1": ("POP_MARK", lambda m: m.since_mark()),
    b"N": ("NONE", _push(lambda _: None)),
    b"\x88": ("NEWTRUE", _push(lambda _: True)),
    b"\x89": ("NEWFALSE", _push(lambda _: False)),
    b"I": ("INT", _push(_text_integer)),
    b"J": ("BININT", _push(lambda m: int.from_bytes(m.take(4), "little", signed=True))),
    b"K": ("BININT1", _push(lambda m: m.number(1))),
    b"M": ("BININT2", _push(lambda m: m.number(2))),
    b"L": ("LONG", _push(lambda m: decimal(m.line()))),
    b"\x8a": ("LONG1", _push(lambda m: _long(m, m.number(1)))),
    b"\x8b": ("LONG4", _push(lambda m: _long(m, m.number(4)))),
    b"F": ("FLOAT", _push(lambda m: float(m.line()[:64]))),
    b"G": ("BINFLOAT", _push(lambda m: struct.unpack(">d", m.take(8))[0])),
    b"S": ("STRING", _push(lambda m: quoted(m.line()))),
    b"T": ("BINSTRING", _push(lambda m: m.take(m.number(4)))),
    b"U": ("SHORT_BINSTRING", _push(lambda m: m.take(m.number(1)))),
    b"V": ("UNICODE", _push(lambda m: m.line().decode("raw-unicode-escape"))),
    b"X": ("BINUNICODE", _push(lambda m: _text(m, m.number(4)))),
    b"\x8c": ("SHORT_BINUNICODE", _push(lambda m: _text(m, m.number(1)))),
    b"\x8d": ("BINUNICODE8", _push(lambda m: _text(m, m.number(8)))),
    b"B": ("BINBYTES", _push(lambda m: m.take(m.number(4)))),
    b"C": ("SHORT_BINBYTES", _push(lambda m: m.take(m.number(1)))),
    b"\x8e": ("BINBYTES8", _push(lambda m: m.take(m.number(8)))),
    b"\x96": ("BYTEARRAY8", _push(lambda m: m.take(m.number(8)))),
    b"]": ("EMPTY_LIST", _push(lambda _: [])),
    b"l": ("LIST", _push(lambda m: m.since_mark())),
    b"a": ("APPEND", lambda m: _extend(m, m.pop(1))),
    b"e": ("APPENDS", lambda m: _extend(m, m.since_mark())),
    b")": ("EMPTY_TUPLE", _push(lambda _: ())),
    b"t": ("TUPLE", _push(lambda m: tuple(m.since_mark()))),
    b"\x85": ("TUPLE1", _push(lambda m: tuple(m.pop(1)))),
    b"\x86": ("TUPLE2", _push(lambda m: tuple(m.pop(2)))),
    b"\x87": ("TUPLE3", _push(lambda m: tuple(m.pop(3)))),
    b"}": ("EMPTY_DICT", _push(lambda _: {})),
    b"d": ("DICT", _push(lambda m: _update({}, m.since_mark()))),
    b"s": ("SETITEM", lambda m: _set_items(m, m.pop(2))),
    b"u": ("SETITEMS", lambda m: _set_items(m, m.since_mark())),
    b"g": ("GET", _push(lambda m: m.memo[decimal(m.line())])),
    b"h": ("BINGET", _push(lambda m: m.memo[m.number(1)])),
    b"j": ("LONG_BINGET", _push(lambda m: m.memo[m.number(4)])),
    b"p": ("PUT", lambda m: m.remember(decimal(m.line()))),
    b"q": ("BINPUT", lambda m: m.remember(m.number(1))),
    b"r": ("LONG_BINPUT", lambda m: m.remember(m.number(4))),
    b"\x94": ("MEMOIZE", lambda m: m.remember(len(m.memo))),
    b"c": ("GLOBAL", _push(lambda m: _find(m, m.line().decode(), m.line().decode()))),
    b"\x93": ("STACK_GLOBAL", _push(_stack_global)),
    b"R": ("REDUCE", _push(_call)),
    b"\x81": ("NEWOBJ", _push(_call)),
    b"b": ("BUILD", _push(_build)),
    b"Q": ("BINPERSID", _push(_persistent)),
}
