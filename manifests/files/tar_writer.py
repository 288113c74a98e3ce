"""Plain WebDataset shards with keys of any spelling: uncompressed, without times, one spelling for one content."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from typing import Final

from poisonsets.manifests.files import png
from poisonsets.manifests.files.pixels import Images, Labels

BLOCK: Final = 512
RECORD: Final = 10240


def shard(keys: Sequence[str], images: Images, labels: Labels) -> bytes:
    """A tar of one `.cls` and one `.png` a sample.

    Args:
        keys: the samples' keys, without dots.
        images: uint8 [N, H, W, 3].
        labels: int64 [N].
    """
    members = []
    for key, image, label in zip(keys, images, labels, strict=True):
        members.append(_member(f"{key}.cls", str(int(label)).encode()))
        members.append(_member(f"{key}.png", png.encode(image)))
    body = b"".join(members) + bytes(2 * BLOCK)
    return body + bytes(-len(body) % RECORD)


def _member(name: str, body: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(body), 0o444, 0
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % BLOCK)
