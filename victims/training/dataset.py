"""Any poisoned training set as a torch Dataset, for other training code."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from poisonsets.manifests.errors import UsageError


class TrainingSet(Protocol):
    """Images uint8 [N, H, W, 3] (RGB) and labels int64 [N]."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """uint8 [N, H, W, 3], RGB."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 [N]."""


class TrainingSetDataset(Dataset[tuple[Any, int]]):
    """Row i of a training set as (float32 [3, H, W] in 0..1, label); neither augmented nor normalised.

    With `transform` the image is what that makes of it.

    Raises:
        UsageError: the arrays are not those of `TrainingSet`.
    """

    def __init__(self, training_set: TrainingSet, transform: Callable[[Tensor], Any] | None = None) -> None:
        images, labels = training_set.images, training_set.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise UsageError(f"images are {images.dtype} {list(images.shape)}, wanted uint8 [N, H, W, 3]")
        if labels.shape != images.shape[:1]:
            raise UsageError(f"labels have shape {list(labels.shape)}, wanted [{len(images)}]")
        self._images, self._labels, self._transform = images, labels, transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = torch.tensor(self._images[index]).permute(2, 0, 1).contiguous()
        scaled = image.to(torch.float32).div_(255)
        return scaled if self._transform is None else self._transform(scaled), int(self._labels[index])
