"""WebDataset shards of images and labels: uncompressed, without times, one spelling for one content.

Headers come from the standard library's `tarfile`, which is never given untrusted bytes.
"""

import functools
import tarfile
from collections.abc import Iterable
from typing import Final

from poisonsets.manifests.files import png
from poisonsets.manifests.files.pixels import Images, Labels

BLOCK: Final = tarfile.BLOCKSIZE
RECORD: Final = tarfile.RECORDSIZE


def shard(keys: Iterable[str], images: Images, labels: Labels, *, owner: str = "") -> bytes:
    """A tar of one `.cls` and one `.png` member a sample.

    Args:
        keys: one a sample: ASCII, without dots, at most 96 characters.
        images: uint8 [N, H, W, 3].
        labels: int64 [N].
        owner: the name of user and group in the headers.
    """
    members = []
    for key, image, label in zip(keys, images, labels, strict=True):
        members.append(_member(f"{key}.cls", str(int(label)).encode(), owner))
        members.append(_member(f"{key}.png", png.encode(image), owner))
    body = b"".join(members) + bytes(2 * BLOCK)
    return body + bytes(-len(body) % RECORD)


def header(name: str, size: int, owner: str) -> bytes:
    """The header of a member; members of one size differ in name and checksum alone."""
    frame, total = _frame(size, owner)
    text = name.encode("ascii")
    return text.ljust(100, b"\0") + frame[100:148] + b"%06o\0 " % (total + sum(text)) + frame[156:]


def _member(name: str, body: bytes, owner: str) -> bytes:
    return header(name, len(body), owner) + body + bytes(-len(body) % BLOCK)


@functools.lru_cache(maxsize=64)
def _frame(size: int, owner: str) -> tuple[bytes, int]:
    """The header of a nameless member, and the sum of its bytes with spaces in the checksum's place."""
    info = tarfile.TarInfo("")
    info.size, info.mode, info.mtime = size, 0o444, 0
    info.uname = info.gname = owner
    frame = info.tobuf(tarfile.USTAR_FORMAT)
    return frame, sum(frame) - sum(frame[148:156]) + 8 * ord(" ")
