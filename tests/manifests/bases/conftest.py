"""What the tests of base datasets share: an empty cache, and tiny image files made on the spot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Member = tuple[str, bytes]


def _picture(seed: int, side: int = 4, kind: str = "PNG", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def _shard(path: Path, members: Iterable[Member]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """picture(seed, side=4, kind="PNG", mode="RGB") returns the bytes of a random image file."""
    return _picture


@pytest.fixture
def shard() -> Callable[[Path, Iterable[Member]], None]:
    """shard(path, members) writes a tar archive."""
    return _shard


@pytest.fixture
def samples() -> Callable[..., list[Member]]:
    """samples(n, classes=2, side=4) returns the members of n samples with labels 0, 1, ... in turn."""

    def make(n: int, classes: int = 2, side: int = 4) -> list[Member]:
        members = []
        for i in range(n):
            members += [(f"{i:04d}.png", _picture(i, side)), (f"{i:04d}.cls", str(i % classes).encode())]
        return members

    return make
