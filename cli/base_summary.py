"""What `base add` says of a base it has read: what each split holds, and what was passed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from poisonsets.cli import output
from poisonsets.manifests.spelling import printable

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base

SPLITS = ("train", "test")
SHOWN = 12  # classes that are shown one by one


def found(base: Base) -> dict[str, Any]:
    """The same as a JSON document."""
    inventory = base.inventory
    passed = () if inventory is None else inventory.passed
    sizes = {} if inventory is None else inventory.sizes
    return {
        "splits": {
            split: {
                "origin": _origin(base, split),
                "classes": [{"name": name, "images": count} for name, count in _counts(base, split)],
            }
            for split in SPLITS
        },
        "sizes": [{"width": w, "height": h, "images": count} for (h, w), count in sorted(sizes.items())],
        "passed_over": [asdict(one) for one in passed],
    }


def show(base: Base) -> None:
    """Print a table of the splits, their digests, the sizes of the images, and what was passed over."""
    rows = []
    for split in SPLITS:
        counts, (height, width) = _counts(base, split), base.split(split).side
        images = sum(count for _, count in counts)
        rows.append((split, _origin(base, split), str(images), f"{width}x{height}", _classes(counts)))
    output.table(base.name, ("split", "found in", "images", "size", "images of each class"), rows)
    for split in SPLITS:
        pin = base.split(split).pin()
        print(f"{base.name} {split}: {pin.images} images of {pin.height}x{pin.width}, digest {pin.digest}")
    if base.inventory is None:
        return
    sizes = sorted(base.inventory.sizes)
    if len(sizes) > 1:
        (first, across), (last, broad) = sizes[0], sizes[-1]
        print(f"sizes in the source: {len(sizes)}, from {across}x{first} to {broad}x{last}")
    for one in base.inventory.passed:
        print(f"passed over: {printable(one.line())}")


def _origin(base: Base, split: str) -> str:
    origins = {} if base.inventory is None else base.inventory.origins
    return origins.get(split, "held out" if "train" in origins else "")


def _counts(base: Base, split: str) -> list[tuple[str, int]]:
    import numpy as np

    counts = np.bincount(base.split(split).labels, minlength=len(base.classes))
    return list(zip(base.classes, map(int, counts), strict=True))


def _classes(counts: Sequence[tuple[str, int]]) -> str:
    if len(counts) <= SHOWN:
        return ", ".join(f"{name} {count}" for name, count in counts)
    each = sorted({count for _, count in counts})
    shown = str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}"
    return f"{len(counts)} classes ({', '.join(name for name, _ in counts[:3])}, ...), {shown} each"
