"""`base add` of a folder of photographs beside a loop of Pillow over them: what it costs to check what is read."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.bench import Case
from PIL import Image

from poisonsets.manifests.bases.cache import add_base
from poisonsets.manifests.bases.spec import parse_spec

IMAGES, CLASSES, SIDE = 5_000, 10, 128


def _photographs(root: Path) -> Path:
    """JPEGs of smooth colours with some noise, which take as many bytes as photographs do."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        folder = root / str(number % CLASSES)
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.float32)
        noisy = np.clip(smooth + rng.normal(0, 6, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number}.jpg", quality=90)
    return root


def _seconds(side: Callable[[], object]) -> float:
    started = time.perf_counter()
    side()
    return time.perf_counter() - started


def cases() -> list[Case]:
    """One case of reading a folder."""
    scratch = Path(tempfile.mkdtemp(prefix="bench-base-add-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    root = _photographs(scratch / "photographs")
    spec = parse_spec(f"folder:{root}", holdout="1/20")

    def plain() -> np.ndarray:
        pixels = []
        for path in sorted(root.glob("*/*.jpg")):
            with Image.open(path) as image:
                pixels.append(np.asarray(image.convert("RGB")))
        return np.stack(pixels)

    return [
        Case(
            "base add",
            lambda: add_base(spec, cache=scratch / "cache"),
            plain,
            "s",
            1 / 1.3,
            f"{IMAGES} JPEGs of {SIDE}x{SIDE} with all checks, digests and the cache, in threads, on the clock; "
            "plain: Pillow opens each as RGB",
            1,
            _seconds,
        )
    ]
