"""Shards: WebDataset tars of `cls` and `png` members, with exactly one spelling (SPEC.md section 6).

The bytes are those of `webdataset.TarWriter(file, mtime=0, encoder=False)`. Reading derives every header anew and
compares, so a shard with a hidden, repeated, sparse or linked member cannot pass for another.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import png, tar_writer
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.files.tar_writer import BLOCK, RECORD

OWNER = "bigdata"  # what webdataset writes
KEY = re.compile(rb"([0-9]{5})-([0-9]{8})\.cls")
LABEL = re.compile(rb"0|[1-9][0-9]{0,4}")


class Samples(NamedTuple):
    """The samples of a shard, in order: both parts of each key and the labels int64 [N], images uint8 [N, H, W, 3]."""

    trials: Labels
    slots: Labels
    labels: Labels
    images: Images

    def keys(self) -> list[str]:
        """The key of each sample."""
        return [key_of(trial, slot) for trial, slot in zip(self.trials.tolist(), self.slots.tolist(), strict=True)]


def key_of(trial: int, slot: int) -> str:
    """The key of a sample: its members are named `KEY.cls` and `KEY.png`."""
    return f"{trial:05d}-{slot:08d}"


def encode(trial: int, first_slot: int, images: Images, labels: Labels) -> bytes:
    """The shard of consecutive slots of a trial.

    Args:
        trial: 0..99999.
        first_slot: the slot of the first image.
        images: uint8 [N, H, W, 3].
        labels: int64 [N].
    """
    keys = [key_of(trial, slot) for slot in range(first_slot, first_slot + len(images))]
    return tar_writer.shard(keys, images, labels, owner=OWNER)


def encoded_size(samples: int, height: int, width: int) -> int:
    """The length of a shard of so many images of this size, in bytes."""
    image = png.encoded_size(height, width)
    body = samples * (3 * BLOCK + image + -image % BLOCK) + 2 * BLOCK
    return body + -body % RECORD


def decode(data: bytes, height: int, width: int, where: str) -> Samples:
    """The samples of a shard that `encode` could have written, its images of this size; errors begin with `where`.

    Raises:
        DamagedError: the bytes are not a canonical shard; names the member.
    """
    keys: list[tuple[int, int]] = []
    labels, images = [], []
    at = 0
    while data[at : at + BLOCK].strip(b"\0"):
        if len(keys) == limits.SLOTS_PER_SHARD:
            raise DamagedError(f"{where}: more than {limits.SLOTS_PER_SHARD} samples")
        found = KEY.fullmatch(data[at : at + 100].rstrip(b"\0"))
        if found is None:
            raise DamagedError(f"{where}: no sample's cls member at byte {at}")
        trial, slot = int(found[1]), int(found[2])
        key = key_of(trial, slot)
        label, at = _member(data, at, f"{key}.cls", range(1, 6), where)
        if not LABEL.fullmatch(label):
            raise DamagedError(f"{where}: {key}.cls is not a label")
        image, at = _member(data, at, f"{key}.png", [png.encoded_size(height, width)], where)
        keys.append((trial, slot))
        labels.append(int(label))
        images.append(png.decode(image, height, width, f"{where}: {key}.png"))
    end = -(-(at + 2 * BLOCK) // RECORD) * RECORD
    if len(data) != end or data[at:].strip(b"\0"):
        raise DamagedError(f"{where}: after its last sample the shard is not zeros up to byte {end}, its end")
    trials, slots = np.array(keys, dtype=np.int64).reshape(-1, 2).T
    pixels = np.array(images, dtype=np.uint8).reshape(-1, height, width, 3)
    return Samples(trials, slots, np.array(labels, dtype=np.int64), pixels)


def _member(data: bytes, at: int, name: str, sizes: Iterable[int], where: str) -> tuple[bytes, int]:
    """The body of the member that begins at byte `at`, and the byte after the member."""
    header = data[at : at + BLOCK]
    size = next((size for size in sizes if header == tar_writer.header(name, size, OWNER)), None)
    if size is None:
        raise DamagedError(f"{where}: the header at byte {at} is not the one of {name}")
    start = at + BLOCK
    end = start + size + -size % BLOCK
    if len(data) < end or data[start + size : end].strip(b"\0"):
        raise DamagedError(f"{where}: {name} is cut or its padding is not zero")
    return data[start : start + size], end
