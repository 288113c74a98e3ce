"""Features of (image, view) from a frozen network, each computed once and then remembered.

In eval mode a feature is a function of the image and its view alone, so remembering it changes nothing: 40
epochs of the transfer protocol see each image in about 32 of 81 views, and the clean images of all trials
are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from poisonsets.victims.device import exact_arithmetic
from poisonsets.victims.networks import Classifier
from poisonsets.victims.views import apply_views, plain_view, view_count


def forward_batch(device: torch.device) -> int:
    """Images a forward pass: a fixed function of the device's kind, never of free memory."""
    return 64 if device.type == "cpu" else 1024


class FeatureCache:
    """Features of numbered images in numbered views, computed when first asked for.

    Every forward pass has the same batch size, a short one filled up with copies: a feature's last bits may
    depend on the batch size, and must not depend on what was asked for before. Memory grows with the
    entries in use, four
    bytes a feature: 2,500 images in 162 views of 512 features come to 830 MB.

    Args:
        network: frozen, in eval mode, on the device.
        images: uint8 [N, H, W, 3] on the device.
        pad: black pixels around an image before the crop.
        flip: whether mirrored views exist.
    """

    def __init__(self, network: Classifier, images: Tensor, *, pad: int, flip: bool) -> None:
        self.network, self.images = network, images
        self.pad, self.flip = pad, flip
        self.batch = forward_batch(images.device)
        self.forwards = 0
        views = view_count(pad, flip=flip)
        self._place = torch.full((len(images) * views,), -1, dtype=torch.int32)
        self._views = views
        self._store = torch.empty((0, network.feature_width), device=images.device)
        self._used = 0

    def get(self, image_ids: Tensor, view_ids: Tensor) -> Tensor:
        """The features float32 [M, D], on the device.

        Args:
            image_ids: int64 [M] in 0..N-1, on the CPU.
            view_ids: int64 [M], on the CPU.
        """
        keys = image_ids * self._views + view_ids
        self._fill(keys)
        return self._store[self._place[keys].to(self._store.device, torch.int64)]

    def plain(self) -> Tensor:
        """The features float32 [N, D] of all images as they are, in order."""
        ids = torch.arange(len(self.images))
        return self.get(ids, torch.full_like(ids, plain_view(self.pad)))

    def fill(self, image_ids: Tensor, view_ids: Tensor) -> None:
        """Compute what `get` would need, in as few forward passes as possible."""
        self._fill(image_ids * self._views + view_ids)

    def _fill(self, keys: Tensor) -> None:
        missing = torch.unique(keys[self._place[keys] < 0])
        if len(missing) == 0:
            return
        self._reserve(self._used + len(missing))
        with torch.no_grad(), exact_arithmetic():
            for start in range(0, len(missing), self.batch):
                part = missing[start : start + self.batch]
                features = self._forward(part)
                self._store[self._used : self._used + len(part)] = features
                self._place[part] = torch.arange(self._used, self._used + len(part), dtype=torch.int32)
                self._used += len(part)

    def _forward(self, keys: Tensor) -> Tensor:
        padded = torch.cat([keys, keys[-1:].expand(self.batch - len(keys))]).to(self.images.device)
        images = self.images[padded // self._views]
        inputs = apply_views(images, padded % self._views, self.pad, flip=self.flip)
        self.forwards += self.batch
        return self.network.features(inputs)[: len(keys)]

    def _reserve(self, entries: int) -> None:
        if entries <= len(self._store):
            return
        most = len(self._place)
        grown = torch.empty((min(most, max(entries, len(self._store) * 3 // 2)), self._store.shape[1]))
        grown = grown.to(self._store.device)
        grown[: self._used] = self._store[: self._used]
        self._store = grown
