"""Mutants of a manifest and a shard from a seeded generator: by bytes, by tokens, by the meaning of fields."""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from copy import deepcopy
from typing import Any, Final

from hostile.documents import ESCAPES, HTML

from poisonsets.manifests.files import canonical_json

BLOCK: Final = 512
TOKEN: Final = re.compile(rb'"[^"]*"|-?[0-9]+|[a-z]+|[][{}:,]')
NASTY: Final[tuple[Any, ...]] = (
    *(None, True, False, -1, 0, 1, 2, 255, 256, 1024, 99_999, 100_000, 2**31, 2**32, 2**53, 2**53 + 1, 2**63, 2**64),
    *(-(2**63), 10**30, 1.5, 1e300, "", "0", "a", "A" * 64, "f" * 64, "a" * 4097, "0.5", "1", "9999.999999", "1e999"),
    *("\0", HTML, ESCAPES, "\ud800", "../x.tar", "/x.tar", "poisons/x.tar", "README.md", "manifest.json", "CON.png"),
    *("patch", "sine", "blend", "image", "none", "linf", "l2", "add", "supplant", "named", "drawn", "file", "foreign"),
    *([], {}, [[]], [{}], {"": {}}, [0] * 1000, list(range(40)), {"kind": "named", "name": "witches-brew-cifar10"}),
    *({"norm": "none"}, {"norm": "l2", "squared_levels": 1, "exempt_trigger": True}, {"rule": "random", "seed": 2**53}),
    *({"kind": "sine", "amplitude": "9999", "frequency": "9999.9", "alpha": "1"}, {"rule": "supplant", "removed": [0]}),
    *({"kind": "drawn", "seed": 0, "rate": "999999999/1"}, {"kind": "drawn", "seed": 0, "poisons": 10**6}),
)
TOKENS: Final = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"0x10",
    b"08",
    b"-0",
    b"8.0",
    b"null",
    b"true",
    b"[",
    b"}",
    b'"',
    b",",
)
Places = list[tuple[Any, Any]]


def manifest(good: bytes, draw: random.Random) -> bytes:
    """A mutant of a manifest; every second one is spelled right and wrong only in what it says."""
    return draw.choice((_bytes, _tokens, _fields, _fields))(good, draw)


def _bytes(good: bytes, draw: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        match draw.randrange(5):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                data[at] = draw.randrange(256)
            case 2:
                del data[at : at + draw.randint(1, 40)]
            case 3:
                data[at:at] = data[draw.randrange(len(data)) :][: draw.randint(1, 60)]
            case _:
                data[at:at] = draw.randbytes(draw.randint(1, 8))
    return bytes(data)


def _tokens(good: bytes, draw: random.Random) -> bytes:
    tokens = TOKEN.findall(good)
    for _ in range(draw.randint(1, 3)):
        at, other = draw.randrange(len(tokens)), draw.randrange(len(tokens))
        match draw.randrange(5):
            case 0:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 1:
                del tokens[at]
            case 2:
                tokens[at:at] = tokens[other : other + draw.randint(1, 9)]
            case 3:
                tokens[at] = draw.choice(TOKENS)
            case _:
                tokens[at] = json.dumps(draw.choice(NASTY)).encode()
    return b"".join(tokens) + b"\n"


def _fields(good: bytes, draw: random.Random) -> bytes:
    document = json.loads(good)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = _places(document)
        holder, key = draw.choice(places)
        match draw.randrange(10):
            case 0:
                del holder[key]
            case 1:
                source, name = draw.choice(places)
                holder[key] = json.loads(json.dumps(source[name]))
            case 2 if isinstance(holder, list):
                holder.insert(key, deepcopy(draw.choice((draw.choice(NASTY), holder[key]))))
            case 2:
                holder[draw.choice(("extra", "", "__proto__", f"{key} "))] = deepcopy(draw.choice(NASTY))
            case 3 if isinstance(holder[key], int):
                holder[key] += draw.choice((-1, 1, 2**32, -(2**31)))
            case 4 if isinstance(holder[key], str) and holder[key]:
                at = draw.randrange(len(holder[key]))
                holder[key] = (
                    holder[key][:at] + draw.choice(("", "0", "/", ".", "\n", "é", "a" * 300)) + holder[key][at:]
                )
            case 5 if isinstance(holder[key], list):
                draw.shuffle(holder[key])
                holder[key] *= draw.choice((0, 1, 2, 50))
            case 6:
                holder[key] = deepcopy(draw.choice(NASTY))
            case _:
                alike = [one for one in NASTY if type(one) is type(holder[key])]
                holder[key] = deepcopy(draw.choice(alike))
        if not isinstance(document, dict) or not document:
            break
    return canonical_json.checksummed(document)


def _places(document: Any) -> Places:
    """Every place in a document, as its container and its key."""
    found: Places = []
    waiting = [document]
    while waiting:
        value = waiting.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            found.append((value, key))
            if isinstance(value[key], dict | list):
                waiting.append(value[key])
    return found


def shard(good: tuple[bytes, ...], draw: random.Random) -> bytes:
    """A mutant of a shard; in some all checksums are right again."""
    data = bytearray(draw.choice(good))
    for _ in range(draw.choice((1, 1, 2, 3))):
        draw.choice((_flip, _flip, _cut, _blocks, _splice, _header, _body))(data, good, draw)
    if draw.random() < 0.4:
        _repair(data)
    return bytes(data)


def _flip(data: bytearray, _good: tuple[bytes, ...], draw: random.Random) -> None:
    for _ in range(draw.randint(1, 4) if data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _cut(data: bytearray, _good: tuple[bytes, ...], draw: random.Random) -> None:
    del data[draw.choice((draw.randrange(len(data) + 1), draw.randrange(len(data) // BLOCK + 1) * BLOCK)) :]


def _blocks(data: bytearray, _good: tuple[bytes, ...], draw: random.Random) -> None:
    """A block or a sample's worth of blocks copied, removed, or inserted as zeros or noise."""
    at, size = draw.randrange(len(data) // BLOCK + 1) * BLOCK, draw.choice((1, 2, 4, 8)) * BLOCK
    source = draw.randrange(len(data) // BLOCK + 1) * BLOCK
    match draw.randrange(4):
        case 0:
            data[at:at] = data[source : source + size]
        case 1:
            del data[at : at + size]
        case 2:
            data[at:at] = draw.choice((bytes(size), draw.randbytes(size)))
        case _:
            data[at : at + size], data[source : source + size] = data[source : source + size], data[at : at + size]


def _splice(data: bytearray, good: tuple[bytes, ...], draw: random.Random) -> None:
    other = draw.choice(good)
    data[draw.randrange(len(data) + 1) // BLOCK * BLOCK :] = other[draw.randrange(len(other)) // BLOCK * BLOCK :]


def _header(data: bytearray, _good: tuple[bytes, ...], draw: random.Random) -> None:
    """A field of a header, by its place and width."""
    start, width = draw.choice(
        ((0, 24), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 9), (345, 9))
    )
    at = draw.randrange(max(len(data) // BLOCK, 1)) * BLOCK + start
    texts = (
        b"00000-00000001.cls",
        b"00000-99999999.png",
        b"00001-00000000.cls",
        b"7" * 12,
        b"\xff" * 12,
        b"2",
        b"L",
        b"x",
    )
    data[at : at + width] = draw.choice((*texts, draw.randbytes(width)))[:width].ljust(width, b"\0")[
        : len(data[at : at + width])
    ]


def _body(data: bytearray, _good: tuple[bytes, ...], draw: random.Random) -> None:
    """Another label, or other pixels."""
    at = data.find(b".cls", draw.randrange(len(data) + 1))
    if at >= 0 and draw.random() < 0.5:
        place = at // BLOCK * BLOCK + BLOCK
        data[place : place + 2] = draw.choice((b"0\0", b"2\0", b"9\0", b"-1", b"07", b"\n\0"))
    elif (start := data.find(b"IDAT", draw.randrange(len(data) + 1))) >= 0:
        place = start + 20 + draw.randrange(100)
        data[place : place + 1] = draw.randbytes(1)


def _repair(data: bytearray) -> None:
    """Right checksums in headers and pictures, as by someone who knows the format."""
    for at in range(0, len(data) - BLOCK + 1, BLOCK):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + BLOCK])
    at = -1
    while (at := data.find(b"IDAT", at + 1)) >= 0:
        (size,) = struct.unpack(">I", data[at - 4 : at].rjust(4, b"\0"))
        body = data[at + 4 : at + 4 + size]
        if len(body) == size > 11:
            body[-4:] = struct.pack(">I", zlib.adler32(body[7:-4]))
            data[at + 4 : at + 4 + size] = body
            data[at + 4 + size : at + 8 + size] = struct.pack(">I", zlib.crc32(b"IDAT" + body))
