"""Tar archives that standard readers accept silently, or misread; each is one file of the corpus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from golden.making import golden_base, noise

from poisonsets.manifests.files import png
from poisonsets.manifests.sets import shard

BLOCK, RECORD = 512, 10240
END = bytes(2 * BLOCK)
TOUCH = b"cos\nsystem\n(S'touch poisonsets-was-here'\ntR."
Make = Callable[[], bytes]


def head(name: str, claimed: int, *, kind: bytes = b"0", link: str = "", **fields: bytes) -> bytes:
    """A ustar header; `fields` overwrites parts of it. The checksum is right unless `fields` gives it."""
    data = bytearray(BLOCK)

    def put(at: int, value: bytes) -> None:
        data[at : at + len(value)] = value

    put(0, name.encode("utf-8", "surrogateescape")[:100])
    put(100, fields.get("mode", b"0000444\0"))
    put(108, b"0000000\0" * 2)
    put(124, fields.get("size", b"%011o\0" % max(claimed, 0)))
    put(136, b"00000000000\0")
    put(156, kind)
    put(157, link.encode())
    put(257, fields.get("magic", b"ustar\x0000"))
    put(265, b"bigdata")
    put(297, b"bigdata")
    put(345, fields.get("rest", b""))
    put(148, b" " * 8)
    put(148, fields.get("checksum", b"%06o\0 " % sum(data)))
    return bytes(data)


def member(name: str, body: bytes, **options: Any) -> bytes:
    return head(name, len(body), **options) + body + bytes(-len(body) % BLOCK)


def ended(*members: bytes) -> bytes:
    body = b"".join(members) + END
    return body + bytes(-len(body) % RECORD)


def sample(slot: int, trial: int = 0) -> tuple[bytes, bytes]:
    """The two members of an honest sample."""
    key = f"{trial:05d}-{slot:08d}"
    label = str(slot % 3).encode()
    image = golden_base().train.images[slot]
    return member(f"{key}.cls", label), member(f"{key}.png", png.encode(image))


def three(*between: bytes) -> bytes:
    """Three samples with something after the first."""
    return ended(*sample(0), *between, *sample(1), *sample(2))


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    body = b"".join(_record(one) for one in records)
    return member("pax", body, kind=kind)


def _record(text: bytes) -> bytes:
    size = len(text) + 3
    while len(b"%d %s\n" % (size, text)) != size:
        size += 1
    return b"%d %s\n" % (size, text)


def sparse() -> bytes:
    """A GNU sparse member that claims 1 GiB and holds 512 bytes."""
    part = b"%011o\0" % 0 + b"%011o\0" % BLOCK  # the first of the four parts that a header has room for
    table = bytearray(167)
    table[41:65] = part
    table[138:150] = b"%011o\0" % (1 << 30)
    data = head("00000-00000003.cls", BLOCK, kind=b"S", magic=b"ustar  \0", rest=bytes(table))
    return three(data + bytes(BLOCK))


def cut() -> bytes:
    return three()[: 3 * BLOCK + 40]


REST = (*sample(1), *sample(2))
ARCHIVES: dict[str, Make] = {
    "gnu-sparse-of-1-GiB": sparse,
    "pax-sparse": lambda: three(pax(b"GNU.sparse.size=1073741824", b"GNU.sparse.map=0,1"), *sample(3)),
    "negative-size-base-256": lambda: three(head("00000-00000003.cls", 0, size=b"\xff" * 12)),
    "negative-size-by-pax": lambda: three(pax(b"size=-512"), *sample(3)),
    "huge-size-by-pax": lambda: three(pax(b"size=9223372036854775808"), *sample(3)),
    "size-of-8-GiB": lambda: three(head("00000-00000003.cls", (8 << 30) - 1)),
    "size-base-256-of-2-to-the-63": lambda: three(head("00000-00000003.cls", 0, size=b"\x80" + bytes(3) + b"\x80" * 8)),
    "path-upwards-by-pax": lambda: three(pax(b"path=../../evil.png"), *sample(3)),
    "path-upwards": lambda: three(member("../../evil.cls", b"1"), member("../../evil.png", b"")),
    "path-absolute": lambda: three(member("/tmp/evil.cls", b"1"), member("/tmp/evil.png", b"")),  # noqa: S108
    "symbolic-link": lambda: three(head("00000-00000003.cls", 0, kind=b"2", link="/etc/passwd")),
    "hard-link": lambda: three(head("00000-00000003.cls", 0, kind=b"1", link="00000-00000000.cls")),
    "pipe": lambda: three(head("00000-00000003.cls", 0, kind=b"6")),
    "character-device": lambda: three(head("00000-00000003.cls", 0, kind=b"3")),
    "block-device": lambda: three(head("00000-00000003.cls", 0, kind=b"4")),
    "contiguous-file": lambda: three(member("00000-00000003.cls", b"1", kind=b"7")),
    "unknown-kind": lambda: three(member("00000-00000003.cls", b"1", kind=b"Z")),
    "member-twice": lambda: three(*sample(0)),
    "garbage-after-the-end": lambda: three() + noise("garbage", 4096).tobytes(),
    "a-second-archive-behind-the-end": lambda: three() + three(),
    "no-end": lambda: b"".join(b"".join(sample(slot)) for slot in range(3)),
    "half-an-end": lambda: b"".join(b"".join(sample(slot)) for slot in range(3)) + bytes(BLOCK - 1),
    "checksum-of-the-second-header": lambda: ended(
        *sample(0)[:1], head("00000-00000000.png", 0, checksum=b"000000\0 ")
    ),
    "cut-in-a-member": cut,
    "cut-in-a-header": lambda: three()[: 2 * BLOCK + 100],
    "padding-not-zero": lambda: three().replace(b"0" + bytes(511), b"0" + bytes(500) + b"hidden\0\0\0\0\0", 1),
    "a-pickle-as-member": lambda: three(member("00000-00000003.pyd", TOUCH)),
    "a-module-as-member": lambda: three(member("00000-00000003.py", b"import os")),
    "long-name": lambda: three(member("././@LongLink", b"a" * 200 + b"\0", kind=b"L"), *sample(3)),
    "eight-long-names": lambda: three(*[member("././@LongLink", b"a\0", kind=b"L")] * 8, *sample(3)),
    "name-of-control-characters": lambda: three(member("\x1b[2J\n.cls", b"1")),
    "name-of-no-text": lambda: three(member("\udcff\udcfe.cls", b"1")),
    "name-of-nothing": lambda: three(member("", b"1")),
    "label-with-zeros-before": lambda: ended(member("00000-00000000.cls", b"001"), sample(0)[1], *REST),
    "label-with-a-line-feed": lambda: ended(member("00000-00000000.cls", b"1\n"), sample(0)[1], *REST),
    "label-negative": lambda: ended(member("00000-00000000.cls", b"-1"), sample(0)[1], *REST),
    "label-beyond-all-classes": lambda: ended(member("00000-00000000.cls", b"999999999"), sample(0)[1], *REST),
    "label-in-other-digits": lambda: ended(member("00000-00000000.cls", "١".encode()), sample(0)[1], *REST),
    "no-label": lambda: ended(sample(0)[1], *REST),
    "picture-before-its-label": lambda: ended(*reversed(sample(0)), *REST),
    "other-mode": lambda: ended(
        member("00000-00000000.cls", b"0", mode=b"0000644\0"), *sample(0)[1:], *sample(1), *sample(2)
    ),
    "gzip": lambda: b"\x1f\x8b\x08" + bytes(6) + b"\xff" + three()[:BLOCK],
    "zip": lambda: b"PK\x05\x06" + bytes(18),
    "empty": lambda: b"",
    "zeros-alone": lambda: bytes(RECORD),
    "text": lambda: b"not an archive at all\n" * 30,
}


def honest() -> bytes:
    images = golden_base().train.images[:3]
    return shard.encode(0, 0, images, np.array([0, 1, 2], dtype=np.int64))
