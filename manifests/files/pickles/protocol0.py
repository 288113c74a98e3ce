"""What protocol 0 of pickle writes as text, a line each: integers and the quoted strings of Python 2."""

import re
from typing import Final

from poisonsets.manifests.files.pickles.machine import RefusedError

LONGEST_LINE: Final = 40
ESCAPES: Final = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def decimal(line: bytes) -> int:
    """An integer, with or without Python 2's final L.

    Raises RefusedError where it has too many digits, ValueError where it is none.
    """
    if len(line) > LONGEST_LINE:
        raise RefusedError(f"an integer of more than {LONGEST_LINE} digits")
    return int(line.removesuffix(b"L"))


def quoted(line: bytes) -> bytes:
    """The bytes of a string in quotes, its escapes resolved.

    Raises RefusedError where quotes are missing or an escape is unknown.
    """
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise RefusedError("a string without quotes")
    return re.sub(rb"\\(x[0-9a-f]{2}|.?)", _unescaped, line[1:-1])


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code in ESCAPES:
        return ESCAPES[code]
    if len(code) != 3:
        raise RefusedError("an unknown escape in a string")
    return bytes([int(code[1:], 16)])
