"""The bytes of a shard: a WebDataset tar of `cls` and `png` members that has exactly one spelling.

The bytes are those of `webdataset.TarWriter(file, mtime=0, encoder=False)` (a test compares them). Reading derives
every header anew and compares, so a shard with a hidden, repeated, sparse or linked member cannot be read as something
else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import png, tar_writer
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.files.tar_writer import BLOCK, RECORD

OWNER = "bigdata"  # what webdataset writes
KEY = re.compile(rb"([0-9]{5})-([0-9]{8})\.cls")
LABEL = re.compile(rb"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True)
class Samples:
    """What a shard holds, in its order.

    Attributes:
        trials, slots: int64 [N], the two parts of each key.
        labels: int64 [N].
        images: uint8 [N, H, W, 3].
    """

    trials: Labels
    slots: Labels
    labels: Labels
    images: Images

    def keys(self) -> list[str]:
        """The key of each sample, as its members are named."""
        return [key_of(trial, slot) for trial, slot in zip(self.trials.tolist(), self.slots.tolist(), strict=True)]


def key_of(trial: int, slot: int) -> str:
    """The key of a sample."""
    return f"{trial:05d}-{slot:08d}"


def encode(trial: int, first_slot: int, images: Images, labels: Labels) -> bytes:
    """The one shard of these poisons.

    Args:
        trial: 0..99999.
        first_slot: the slot of the first image; the others follow.
        images: uint8 [N, H, W, 3].
        labels: int64 [N].
    """
    keys = [key_of(trial, first_slot + offset) for offset in range(len(images))]
    return tar_writer.shard(keys, images, labels, owner=OWNER)


def encoded_size(samples: int, height: int, width: int) -> int:
    """The length of `encode`'s bytes for so many images of this size."""
    image = png.encoded_size(height, width)
    body = samples * (3 * BLOCK + image + -image % BLOCK) + 2 * BLOCK
    return body + -body % RECORD


def decode(data: bytes, height: int, width: int, where: str) -> Samples:
    """The samples of a shard that `encode` could have written; anything else is refused.

    Args:
        data: the whole shard.
        height, width: the size every image must have.
        where: the shard's name, for the error.

    Raises:
        DamagedError: the bytes are not a canonical shard; the message names the member.
    """
    keys: list[tuple[int, int]] = []
    labels, images = [], []
    at = 0
    while data[at : at + BLOCK].strip(b"\0"):
        if len(keys) == limits.SLOTS_PER_SHARD:
            raise DamagedError(f"{where}: more than {limits.SLOTS_PER_SHARD} samples")
        key = KEY.fullmatch(data[at : at + 100].rstrip(b"\0"))
        if key is None:
            raise DamagedError(f"{where}: no sample's cls member at byte {at}")
        name = key[0][:-4].decode()
        label = _body(data, at, f"{name}.cls", None, where)
        if not LABEL.fullmatch(label):
            raise DamagedError(f"{where}: {name}.cls is not a label")
        at += 2 * BLOCK
        size = png.encoded_size(height, width)
        image = png.decode(_body(data, at, f"{name}.png", size, where), height, width, f"{where}: {name}.png")
        at += BLOCK + size + -size % BLOCK
        keys.append((int(key[1]), int(key[2])))
        labels.append(int(label))
        images.append(image)
    _check_tail(data, at, where)
    columns = np.array(keys, dtype=np.int64).reshape(-1, 2)
    stacked = np.stack(images) if images else np.zeros((0, height, width, 3), dtype=np.uint8)
    return Samples(columns[:, 0], columns[:, 1], np.array(labels, dtype=np.int64), stacked)


def _body(data: bytes, at: int, name: str, size: int | None, where: str) -> bytes:
    """The body of the member whose header must stand at `at`; without a size, one label of one to five digits."""
    sizes = range(1, 6) if size is None else (size,)
    header = data[at : at + BLOCK]
    found = next((n for n in sizes if header == tar_writer.header(name, n, OWNER)), None)
    if found is None:
        raise DamagedError(f"{where}: the header at byte {at} is not the one of {name}")
    end = at + BLOCK + found
    body = data[at + BLOCK : end]
    padding = data[end : end + -found % BLOCK]
    if len(body) != found or len(padding) != -found % BLOCK or padding.strip(b"\0"):
        raise DamagedError(f"{where}: {name} is cut or its padding is not zero")
    return body


def _check_tail(data: bytes, at: int, where: str) -> None:
    wanted = -(-(at + 2 * BLOCK) // RECORD) * RECORD
    if len(data) != wanted or data[at:].strip(b"\0"):
        raise DamagedError(
            f"{where}: after the last sample stand other bytes than the end of a tar ({wanted} bytes in all)"
        )
