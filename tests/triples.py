"""Poison sets as other people write them: the real pickle module, Pillow and torch make what the project only reads."""

from __future__ import annotations

import io
import pickle  # writes fixtures; the project itself never imports it
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.interop.importing.import_set import ImportResult

Import = Callable[..., ImportResult]


def picture(image: Images, kind: str = "memory") -> Image.Image:
    """An image of Pillow: made in memory, or opened from a PNG file (which keeps its own class)."""
    if kind == "memory":
        return Image.fromarray(image)
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=100, subsampling=0)
    opened = Image.open(io.BytesIO(file.getvalue()))
    opened.load()
    return opened


def moved(base: Base, bases: Sequence[int], levels: int = 5, seed: int = 0) -> Images:
    """Poisons of these bases, every value `levels` away from its base's."""
    rng = np.random.default_rng(seed)
    clean = base.train.images[list(bases)].astype(int)
    signs = np.where(clean < levels, 1, np.where(clean > 255 - levels, -1, rng.choice([-1, 1], clean.shape)))
    return (clean + levels * signs).astype(np.uint8)


def dumped(path: Path, value: Any, protocol: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def triple(
    folder: Path,
    base: Base,
    *,
    bases: Sequence[int] | None = None,
    poisons: Any = None,
    indices: Any = None,
    target: Any = None,
    levels: int = 5,
    protocol: int = 4,
) -> Path:
    """A trial of three pickles; by default four poisons of class 0 and the first test image of class 1."""
    chosen = list(bases) if bases is not None else np.flatnonzero(base.train.labels == 0)[:4].tolist()
    if poisons is None:
        images = moved(base, chosen, levels)
        poisons = [(picture(one), int(base.train.labels[i])) for one, i in zip(images, chosen, strict=True)]
    if target is None:
        index = int(np.flatnonzero(base.test.labels == 1)[0])
        target = (picture(base.test.images[index]), 1)
    dumped(folder / "poisons.pickle", poisons, protocol)
    dumped(folder / "base_indices.pickle", np.array(chosen) if indices is None else indices, protocol)
    dumped(folder / "target.pickle", target, protocol)
    return folder
