"""`packed`: one file of `torch.save`, as Witches' Brew and the original feature attacks store their poisons.

Witches' Brew (`poisons_packed_DATE.pth`): a list of the perturbation, float32 [P, 3, H, W] in units of the network's
input, and the bases' ids; no images, no target. Convex and Bullseye Polytope (`poison_NNNNN.pth`): a dict of `poison`,
a list of normalised images with labels, and `idx`, the bases. Both need `--unit normalised:...`.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.pickles.images import integer, integers
from poisonsets.manifests.files.pickles.torch_files import load_torch
from poisonsets.manifests.interop.format import ForeignTrial, Format
from poisonsets.manifests.interop.image_arrays import begins, channels_last, stack_images

TORCH_BYTES: Final = 1 << 30
LEGACY: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch's older form


def sniff_packed(path: Path) -> bool:
    """Whether it begins as `torch.save`'s legacy form, or is a zip called `.pth` or `.pt`."""
    return begins(path, LEGACY) or (path.suffix in (".pth", ".pt") and begins(path, b"PK\x03\x04"))


def read_packed(path: Path, _base: Base) -> ForeignTrial:
    """The trial in a file.

    Raises:
        MissingError: there is no such file.
        DamagedError: it cannot be read, or has neither layout.
    """
    value = load_torch(store.read_file(path, TORCH_BYTES, follow=True), str(path))
    if type(value) in (list, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray):
        pixels = channels_last(value[0], "the perturbation")
        bases = tuple(integers(value[1], "the poison ids"))
        return ForeignTrial(pixels=pixels, labels=(None,) * len(pixels), bases=bases, adds=True)
    if isinstance(value, dict) and {"poison", "idx"} <= set(value):
        return _of_images(value, path)
    raise DamagedError(f"{path}: neither a list of perturbation and ids, nor a dict with poison and idx")


def _of_images(value: dict[Any, Any], path: Path) -> ForeignTrial:
    poisons = value["poison"]
    if type(poisons) not in (list, tuple) or not 1 <= len(poisons) <= limits.SLOTS_PER_TRIAL:
        raise DamagedError(f"{path}: poison is not a list")
    images, labels = [], []
    for number, poison in enumerate(poisons):
        if type(poison) not in (list, tuple) or len(poison) != 2 or not isinstance(poison[0], np.ndarray):
            raise DamagedError(f"{path}: poison {number} is not an image and a label")
        images.append(poison[0])
        labels.append(integer(poison[1], f"poison {number}, its label"))
    pixels = stack_images(images, path.stat().st_size, "poison")
    return ForeignTrial(pixels=pixels, labels=tuple(labels), bases=tuple(integers(value["idx"], "idx")))


SUMMARY: Final = "one .pth file: perturbation and ids (Witches' Brew), or poison and idx (Convex and Bullseye Polytope)"
FORMAT: Final = Format("packed", SUMMARY, sniff_packed, read_packed)
