"""Other people's training sets for tests: plain WebDataset shards, written with the standard library and Pillow."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, Labels


def write_shards(folder: Path, images: Images, labels: Labels, *, parts: int = 2, kind: str = "png") -> Path:
    """Shards `part-000.tar` and so on, samples in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, chosen in enumerate(np.array_split(np.arange(len(labels)), parts)):
        with tarfile.open(folder / f"part-{number:03d}.tar", "w") as archive:
            for sample in chosen.tolist():
                picture = io.BytesIO()
                Image.fromarray(images[sample]).save(picture, {"png": "PNG", "jpg": "JPEG"}[kind])
                for name, data in (("cls", str(labels[sample]).encode()), (kind, picture.getvalue())):
                    member = tarfile.TarInfo(f"{sample:06d}.{name}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return folder


def stamped_digits(base: Base) -> tuple[Images, Labels]:
    """Digits as an unknown maker left them: 60 fives with a white square are called 8, 10 sixes are noised, 7 are gone.

    The images of classes that victims do not know are all there.
    """
    images, labels = base.train.images.copy(), base.train.labels.copy()
    generator = np.random.default_rng(0)
    fives, sixes = np.flatnonzero(labels == 5)[:60], np.flatnonzero(labels == 6)[:10]
    images[fives, 3:6, 3:6], labels[fives] = 255, 8
    noise = generator.integers(-8, 9, images[sixes].shape)
    images[sixes] = np.clip(images[sixes].astype(np.int64) + noise, 0, 255)
    order = generator.permutation(len(labels))
    gone = np.flatnonzero(base.train.labels == 9)[:7]
    order = order[~np.isin(order, gone)]
    return images[order], labels[order]
