"""Canonical JSON: one spelling for one document, so that bytes can be hashed and compared.

Keys sorted, no white space, ASCII only, one line feed at the end, integers only. The strict parser refuses what the
standard one lets pass: duplicate keys, NaN and infinities, floats, other encodings. A document nested too deeply for
the parser is refused like the others.
"""

import hashlib
import json
from typing import Any, NoReturn

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store


def dumps(document: Any) -> bytes:
    """The canonical bytes of a JSON document of dicts, lists, strings, integers, booleans and None."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def loads(data: bytes, where: str) -> Any:
    """Parse the canonical JSON of a whole file; `where` names it in the error.

    Raises DamagedError as `parse`; or where the bytes are not canonical, or a string is longer than `limits.JSON_TEXT`.
    """
    document = parse(data, where)
    with store.as_damage(f"{where}: not a readable JSON document", ValueError, RecursionError):
        _refuse_long(document)
        canonical = dumps(document)
    if canonical != data:
        raise DamagedError(f"{where}: not canonical JSON (sorted keys, no spaces, ASCII, one final line feed)")
    return document


def parse(data: bytes, where: str, remedy: str = "") -> Any:
    """Parse the JSON of a whole UTF-8 file in any spelling, strictly: unique keys, integers alone.

    Raises DamagedError, with the remedy, where it is no such document, or has more parts than `limits` allow.
    """
    _refuse_many(data, where)
    with store.as_damage(f"{where}: not a readable JSON document", ValueError, RecursionError, remedy=remedy):
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique_keys,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )


def _refuse_many(data: bytes, where: str) -> None:
    """Count parts before they are made: two bytes of text can become a hundred of memory."""
    counted = {
        "lists and objects": (data.count(b"[") + data.count(b"{"), limits.JSON_OBJECTS),
        "strings": (data.count(b'"') // 2, limits.JSON_STRINGS),
        "values": (data.count(b","), limits.JSON_VALUES),
    }
    for what, (found, most) in counted.items():
        if found > most:
            raise DamagedError(f"{where}: a JSON document of {found} {what}, at most {most} are read")


def _refuse_long(document: Any) -> None:
    """Refuse strings of many megabytes before an error message copies them."""
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
    """An `object_pairs_hook` that raises ValueError for two equal keys, where `json` would keep the last."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return document


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:40]} is not an integer")


def checksummed(document: dict[str, Any]) -> bytes:
    """The canonical bytes of a document with a field `checksum` over the rest of it."""
    return dumps({**document, "checksum": checksum(document)})


def checksum(document: dict[str, Any]) -> str:
    """The sha256 of a document's canonical bytes without its own `checksum` field."""
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(dumps(rest)).hexdigest()


def difference(was: Any, now: Any) -> str:
    """The first value in which two JSON documents differ, with its path: `seed is 3, now 4`; empty for equal ones.

    An object's name, kind and norm are compared first: where they differ, the rest describes something else.
    """
    if dumps(was) == dumps(now):
        return ""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return f"is {str(was)[:80]}, now {str(now)[:80]}"
    for key in sorted(was | now, key=lambda key: (key not in ("name", "kind", "norm"), key)):
        if key not in was or key not in now:
            return f"{key} is {str(was.get(key, 'not given'))[:80]}, now {str(now.get(key, 'not given'))[:80]}"
        if inner := difference(was[key], now[key]):
            return f"{key} {inner}"
    return ""
