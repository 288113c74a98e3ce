"""A second writer of `poisonset/1`, from SPEC.md and the standard library alone; the tests compare the two."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from itertools import count
from typing import Any


def canonical(document: Any) -> bytes:
    """SPEC.md section 4.1, with the standard library alone."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def identity_document(document: dict[str, Any]) -> dict[str, Any]:
    """SPEC.md section 5, with nothing but dicts."""
    trials = []
    for trial in document["trials"]:
        entry = {field: value for field, value in trial.items() if field != "outcome"}
        for role in ("trigger", "test_trigger"):
            if trial[role] is not None:
                entry[role] = dict(document["triggers"][trial[role]])
                for picture in ("image", "mask"):
                    if entry[role].get(picture) is not None:
                        entry[role][picture] = document["trigger_pixels"][entry[role][picture]]
        trials.append(entry)
    splits = document["base"]["splits"]
    return {
        "base": {name: splits[name]["digest"] for name in splits},
        "victim_classes": document["base"]["victim_classes"],
        "trials": trials,
    }


def member(name: str, body: bytes) -> bytes:
    """SPEC.md section 6.2, field by field."""

    def octal(value: int, digits: int) -> bytes:
        return f"{value:0{digits}o}".encode() + b"\0"

    fields = (name.encode().ljust(100, b"\0"), octal(0o444, 7), octal(0, 7), octal(0, 7))
    before = b"".join(fields) + octal(len(body), 11) + octal(0, 11)
    owner = b"bigdata".ljust(32, b"\0")
    after = b"0" + bytes(100) + b"ustar\x0000" + owner + owner + bytes(16 + 167)
    total = sum(before) + 8 * ord(" ") + sum(after)
    header = before + octal(total, 6) + b" " + after
    assert len(header) == 512
    return header + body + bytes(-len(body) % 512)


def shard(trial: int, images: list[list[bytes]], labels: list[int]) -> bytes:
    """SPEC.md section 6.1: for each image its rows of RGB bytes, and its label, in slot order."""
    data = b""
    for slot, (rows, label) in enumerate(zip(images, labels, strict=True)):
        key = f"{trial:05d}-{slot:08d}"
        data += member(f"{key}.cls", str(label).encode()) + member(f"{key}.png", png(rows))
    data += bytes(1024)
    return data + bytes(-len(data) % 10240)


def png(rows: list[bytes]) -> bytes:
    """SPEC.md section 6.3, for an image that needs one stored block."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    raw = b"".join(b"\0" + row for row in rows)
    block = struct.pack("<BHH", 1, len(raw), 0xFFFF - len(raw)) + raw
    data = b"\x78\x01" + block + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">II", len(rows[0]) // 3, len(rows)) + bytes([8, 2, 0, 0, 0])
    signature = bytes.fromhex("89504E470D0A1A0A")
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def words_of(key: list[str | int]) -> Iterator[int]:
    """SPEC.md section 8.1."""
    prefix = json.dumps(key, separators=(",", ":"), ensure_ascii=False).encode()
    for block in count():
        digest = hashlib.sha256(prefix + struct.pack(">Q", block)).digest()
        yield from struct.unpack(">4Q", digest)


def below(words: Iterator[int], n: int) -> int:
    """A uniform integer in 0..n-1 without modulo bias."""
    return next(word for word in words if word < 2**64 - 2**64 % n) % n
