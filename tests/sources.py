"""Small sources of every kind of base, to be disturbed: two classes, each with three training and two test images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.spec import parse_spec

SIDE = 8
CLASSES = ("cat", "dog")
COUNTS = {"train": 3, "test": 2}


def pixels(seed: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def picture(seed: int, kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(seed)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def seed(split: str, label: int, number: int) -> int:
    return 100 * (split != "train") + 10 * label + number


def folder(root: Path, train: str = "train", test: str = "test") -> Path:
    for split, name in (("train", train), ("test", test)):
        for label, one in enumerate(CLASSES):
            for number in range(COUNTS[split]):
                put(root / name / one / f"{number}.png", picture(seed(split, label, number)))
    return root


def tinyimagenet(root: Path, train: str = "train", test: str = "val") -> Path:
    lines = []
    for label, one in enumerate(CLASSES):
        for number in range(COUNTS["train"]):
            put(root / train / one / "images" / f"{one}_{number}.JPEG", picture(seed("train", label, number), "JPEG"))
        for number in range(COUNTS["test"]):
            name = f"val_{2 * label + number}.JPEG"
            put(root / test / "images" / name, picture(seed("test", label, number), "JPEG"))
            lines.append(f"{name}\t{one}\t0\t0\t3\t3\n")
    put(root / test / "val_annotations.txt", "".join(lines).encode())
    put(root / "wnids.txt", "\n".join(CLASSES).encode())
    return root


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def members(split: str) -> dict[str, bytes]:
    found = {}
    for label in range(len(CLASSES)):
        for number in range(COUNTS[split]):
            found[f"{label}{number}.png"] = picture(seed(split, label, number))
            found[f"{label}{number}.cls"] = str(label).encode()
    return found


def webdataset(root: Path, train: str = "train-0.tar", test: str = "test-0.tar") -> Path:
    for split, name in (("train", train), ("test", test)):
        tar(root / name, members(split))
    return root


def arrays(split: str) -> tuple[np.ndarray, np.ndarray]:
    some = [(label, number) for label in range(len(CLASSES)) for number in range(COUNTS[split])]
    return np.stack([pixels(seed(split, *one)) for one in some]), np.array([label for label, _ in some])


def hdf5(root: Path, train: str = "train", test: str = "test") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "a.h5", "w") as file:
        for split, name in (("train", train), ("test", test)):
            file[f"{name}/images"], file[f"{name}/labels"] = arrays(split)
    return root / "a.h5"


SOURCES: dict[str, Callable[..., Path]] = {
    "folder": folder,
    "tinyimagenet": tinyimagenet,
    "webdataset": webdataset,
    "hdf5": hdf5,
}


def read(kind: str, path: Path, **options: Any) -> Base:
    return build(parse_spec(f"{kind}:{path}", **options))


def passed(base: Base) -> dict[str, int]:
    """What was passed over, and how often."""
    assert base.inventory is not None
    return {one.what: one.count for one in base.inventory.passed}
