"""Canonical JSON: one spelling for one document, so that bytes can be hashed and compared.

Keys sorted, no white space, ASCII only, one line feed at the end, integers only. The strict parser refuses what the
standard one lets pass: duplicate keys, NaN and infinities, floats, other encodings. Deep nesting ends in the
parser's own RecursionError, which is a refusal like the others.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError

_ABSENT = "not given"


def dumps(document: Any) -> bytes:
    """The canonical bytes of a JSON document of dicts, lists, strings, integers, booleans and None."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def loads(data: bytes, where: str) -> Any:
    """Parse canonical JSON.

    Args:
        data: the whole file.
        where: the file's name, for the error.

    Raises:
        DamagedError: the bytes are not the canonical spelling of a JSON document, or of one with too many parts.
    """
    document = parse(data, where)
    try:
        _refuse_long(document)
        spelled = dumps(document)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{where}: not a readable JSON document ({str(error)[:100]})") from error
    if spelled != data:
        raise DamagedError(f"{where}: not canonical JSON (sorted keys, no spaces, ASCII, one final line feed)")
    return document


def parse(data: bytes, where: str, remedy: str = "") -> Any:
    """Parse JSON of any spelling, strictly: unique keys, integers alone, no more parts than `limits` say.

    Args:
        data: the whole file, UTF-8.
        where: the file's name, for the error.
        remedy: what to do about a file that cannot be read.

    Raises:
        DamagedError: it is no such document.
    """
    refuse_many(data, where)
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique_keys,
            parse_float=refuse_number,
            parse_constant=refuse_number,
        )
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{where}: not a readable JSON document ({str(error)[:100]})", remedy) from error


def difference(was: Any, now: Any) -> str:
    """The first value that differs between two JSON documents, by its place: `seed is 3, now 4`; empty for equal ones.

    Of an object its name, kind and norm come first: where they differ, the rest is of something else.
    """
    if dumps(was) == dumps(now):
        return ""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return f"is {_shown(was)}, now {_shown(now)}"
    for key in sorted(was | now, key=lambda key: (key not in ("name", "kind", "norm"), key)):
        if key not in was or key not in now:
            return f"{key} is {_shown(was.get(key, _ABSENT))}, now {_shown(now.get(key, _ABSENT))}"
        if inner := difference(was[key], now[key]):
            return f"{key} {inner}"
    return ""


def _shown(value: Any) -> str:
    return str(value)[:80]


def refuse_many(data: bytes, where: str) -> None:
    """Refuse JSON of too many parts before they are made: two bytes of text can become a hundred of memory.

    Raises:
        DamagedError: it has more lists and objects, strings or values than `limits` say.
    """
    counted = {
        "lists and objects": (data.count(b"[") + data.count(b"{"), limits.JSON_OBJECTS),
        "strings": (data.count(b'"') // 2, limits.JSON_STRINGS),
        "values": (data.count(b","), limits.JSON_VALUES),
    }
    for what, (found, most) in counted.items():
        if found > most:
            raise DamagedError(f"{where}: a JSON document of {found} {what}, at most {most} are read")


def _refuse_long(document: Any) -> None:
    """A text is copied by whoever complains of it, so one of many megabytes is refused first."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            waiting += (*value, *value.values())
        elif type(value) is list:
            waiting += [one for one in value if type(one) is not int]
        elif type(value) is str and len(value) > limits.JSON_TEXT:
            raise ValueError(f"a text of {len(value)} characters, at most {limits.JSON_TEXT} are read")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON document, for `json.loads`, which would take the last of two equal keys.

    Raises:
        ValueError: a key stands twice.
    """
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return document


def refuse_number(text: str) -> NoReturn:
    """For `json.loads`: a float or a constant like NaN.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"the number {text[:40]} is not an integer")


def checksummed(document: dict[str, Any]) -> bytes:
    """Canonical bytes of a document with a field `checksum` over all the rest of it."""
    return dumps({**document, "checksum": checksum(document)})


def checksum(document: dict[str, Any]) -> str:
    """The sha256 of a document's canonical bytes without its own `checksum` field."""
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(dumps(rest)).hexdigest()
