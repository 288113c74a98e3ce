"""All views of the clean training images, computed once for all trials, attacks and processes, in one file.

    CACHE/features/KEY.safetensors               one array, float16 or float32 [images * views, D]
    CACHE/features/KEY.part-00007.safetensors    until that is complete, what it will hold (`parts`)
    CACHE/features/KEY.lock                      held by the process that computes it

KEY is the sha256 of what its record says it is: extractor, training split, views, dtype, images, precision of the
passes, device (of a GPU its model) and version of torch. With 162 views, 2,500 images of 512 features take 396 MiB in
float16.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files import array_file, canonical_json, store
from poisonsets.manifests.files.safetensors_header import ArraySpec
from poisonsets.manifests.workers import Progress, silent
from poisonsets.victims.device import gpu_model
from poisonsets.victims.features import parts
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.protocols import Protocol

FeatureDtype: TypeAlias = Literal["fp16", "fp32"]
"""What remembered features of training images are rounded to."""

ENOUGH_TRIALS: Final = 4
"""From so many trials on, computing every view takes fewer forward passes than computing those that are drawn."""

DTYPES: Final[dict[FeatureDtype, torch.dtype]] = {"fp16": torch.float16, "fp32": torch.float32}
_FILE_DTYPES: Final = {torch.float16: "F16", torch.float32: "F32"}


@dataclass(frozen=True)
class FeatureStore:
    """Where one extractor's features of a base's clean images are kept.

    Attributes:
        folder: the cache folder.
        extractor, train: digests of its weights and of the training split.
    """

    folder: Path
    extractor: str
    train: str

    def adopt(self, cache: FeatureCache, ids: NDArray[np.int64], *, build: bool, progress: Progress = silent) -> bool:
        """Give a cache of the training split every view of some images, from the file or computed for it.

        Args:
            cache: unused so far.
            ids: int64 [M], images of the split.
            build: make the file where there is none. Finished parts of a killed process are reused; a running one is
                waited for.
            progress: told the parts done, and all, while this process computes them.

        Returns:
            Whether there is a file now.

        Raises:
            DamagedError: the file is not what was written; the remedy is to remove it.
            MissingError: the folder or the disk refuses it.
            ViolationError: as `FeatureCache.computed`.
        """
        record = self._record(cache, ids)
        key = hashlib.sha256(canonical_json.dumps(record)).hexdigest()
        path = self.folder / "features" / f"{key}.safetensors"
        if build and (not path.exists() or any(parts.left(path))):
            self._build(path, cache, ids, record, progress)
        if not path.exists():
            return False
        remedy = f"Remove {path}, it is computed again when needed"
        values = array_file.read_one(path, record, parts.ARRAY, _spec(cache, len(ids)), remedy=remedy)
        cache.adopt(torch.from_numpy(ids), torch.from_numpy(values).to(cache.images.device))
        return True

    def _build(
        self, path: Path, cache: FeatureCache, ids: NDArray[np.int64], record: dict[str, Any], progress: Progress
    ) -> None:
        store.make_folder(path.parent)
        with store.locked(path.with_suffix(".lock"), patience=12 * 3600.0):
            # The process before may have finished it, and been killed before it removed the parts.
            if path.exists():
                parts.forget(path)
                return
            compute, spec = partial(_computed, cache, torch.from_numpy(ids)), _spec(cache, len(ids))
            parts.write(path, compute, record, spec, rows=_part_rows(cache), progress=progress)

    def _record(self, cache: FeatureCache, ids: NDArray[np.int64]) -> dict[str, Any]:
        return {
            "format": "poisonset-features/2",
            "extractor": self.extractor,
            "train": self.train,
            "pad": cache.pad,
            "flip": cache.flip,
            "dtype": str(cache.dtype).removeprefix("torch."),
            "ids": hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest(),
            "images": len(ids),
            "features": cache.network.feature_width,
            # The last bits depend on these.
            "device": gpu_model(cache.images.device) or cache.images.device.type,
            "torch": torch.__version__,
            **({"precision": cache.precision} if cache.precision != "fp32" else {}),
            **({"halvings": cache.halvings} if cache.halvings else {}),
        }


def shared_images(protocol: Protocol, base: Base) -> NDArray[np.int64]:
    """The training images that victims of a protocol share across trials: indices int64, ascending.

    By count, the first images of each class; the few that replace a trial's bases are computed on demand. Otherwise all
    images of the victims' classes.
    """
    labels = base.train.labels
    if protocol.size is None:
        return np.flatnonzero(np.isin(labels, base.victim_classes))
    first = protocol.size // len(base.victim_classes)
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:first] for label in base.victim_classes]))


def _spec(cache: FeatureCache, images: int) -> ArraySpec:
    return ArraySpec(_FILE_DTYPES[cache.dtype], (images * cache.views, cache.network.feature_width))


def _part_rows(cache: FeatureCache) -> int:
    """Rows of a part: up to half a minute of forward passes with a full-width ResNet-18 on a slow device."""
    return cache.batch * (16 if cache.images.device.type == "cpu" else 128)


def _computed(cache: FeatureCache, ids: Tensor, start: int, stop: int) -> NDArray[Any]:
    place = torch.arange(start, stop)
    features = cache.computed(cache.keys(ids[place // cache.views], place % cache.views))
    return features.cpu().numpy()
