"""Features of (image, view) from a frozen network, each computed once and then remembered.

In eval mode a feature depends on the image and its view alone, so remembering it changes nothing: 40 epochs of the
transfer protocol see each image in about 32 of 81 views, and all trials share the clean images.
"""

import torch
from torch import Tensor

from poisonsets.manifests.errors import ViolationError
from poisonsets.victims.device import sent
from poisonsets.victims.networks import Classifier
from poisonsets.victims.precision import Precision, autocast, exact_arithmetic
from poisonsets.victims.training.views import apply_views, plain_view, view_count


class FeatureCache:
    """Features of numbered images in numbered views, computed when first asked for.

    Every forward pass has the same batch size, a short one filled up with copies: a feature's last bits may depend on
    it, and must not depend on what was asked for before. Memory grows with the entries in use: 2,500 images in 162
    views of 512 features come to 415 MB in float16.

    Args:
        network: frozen, in eval mode, on the device.
        images: uint8 [N, H, W, 3] on the device.
        pad: black pixels around an image before the crop.
        flip: whether mirrored views exist.
        dtype: of remembered features, float32 or float16; float16 takes half the memory and moves logits by about a
            ten-thousandth of their standard deviation.
        precision: of the forward passes.
        halvings: how often a forward pass was halved for lack of memory.

    Attributes:
        adopted: [A, D] of `dtype` on the device: features computed elsewhere, see `adopt`.
        forwards: images that went through the network.
    """

    def __init__(
        self,
        network: Classifier,
        images: Tensor,
        *,
        pad: int,
        flip: bool,
        dtype: torch.dtype = torch.float32,
        precision: Precision = "fp32",
        halvings: int = 0,
    ) -> None:
        self.network, self.images, self.precision = network, images, precision
        self.pad, self.flip, self.dtype, self.halvings = pad, flip, dtype, halvings
        self.views = view_count(pad, flip=flip)
        # Fixed for each kind of device: it depends on free memory only where a pass did not fit.
        self.batch = max(1, (64 if images.device.type == "cpu" else 1024) >> halvings)
        self.forwards = 0
        self._place = torch.full((len(images) * self.views,), -1, dtype=torch.int32)
        self.adopted = torch.empty((0, network.feature_width), dtype=dtype, device=images.device)
        self._store = self.adopted
        self._used = 0

    @property
    def remembered(self) -> Tensor:
        """[R, D] of `dtype` on the device: what was computed here, in the order of computation."""
        return self._store[: self._used]

    def adopt(self, image_ids: Tensor, features: Tensor) -> None:
        """Take over the features of some images in all views, before any are asked for.

        Args:
            image_ids: int64 [M] in 0..N-1, on the CPU.
            features: [M * views, D] of `dtype` on the device, all views of one image after the other.
        """
        keys = self.keys(image_ids[:, None], torch.arange(self.views)).flatten()
        self._place[keys] = torch.arange(len(keys), dtype=torch.int32)
        self.adopted = features

    def keys(self, image_ids: Tensor, view_ids: Tensor) -> Tensor:
        """The numbers of images in views, int64 of their shape: image * views + view."""
        return image_ids * self.views + view_ids

    def fill(self, keys: Tensor) -> None:
        """Compute what is missing of keys, int64 of any shape on the CPU, in as few forward passes as possible.

        Raises: as `computed`.
        """
        missing = torch.unique(keys[self._place[keys] < 0])
        if len(missing) == 0:
            return
        features = self.computed(missing)
        self._reserve(self._used + len(missing))
        self._store[self._used : self._used + len(missing)] = features
        first = len(self.adopted) + self._used
        self._place[missing] = torch.arange(first, first + len(missing), dtype=torch.int32)
        self._used += len(missing)

    def places(self, keys: Tensor) -> Tensor:
        """Where features stand in `adopted` followed by `remembered`; valid when more is remembered later.

        Args:
            keys: int64 or int32 of any shape, on the CPU, all filled.

        Returns:
            int64 of that shape, on the CPU.
        """
        return self._place[keys].to(torch.int64)

    def get(self, image_ids: Tensor, view_ids: Tensor) -> Tensor:
        """The features float32 [M, D], on the device, of images and views int64 [M] on the CPU."""
        keys = self.keys(image_ids, view_ids)
        self.fill(keys)
        places = self.places(keys).to(self.images.device)
        if not len(self.adopted):
            return self._store[places].float()
        found = self.adopted[places.clamp(max=len(self.adopted) - 1)]
        computed = places >= len(self.adopted)
        found[computed] = self._store[places[computed] - len(self.adopted)]
        return found.float()

    def plain(self) -> Tensor:
        """The features float32 [N, D] of all images as they are, in order."""
        ids = torch.arange(len(self.images))
        return self.get(ids, torch.full_like(ids, plain_view(self.pad)))

    @torch.no_grad()
    def computed(self, keys: Tensor) -> Tensor:
        """Features [M, D] of `dtype` for keys int64 [M] on the CPU, computed anew and not remembered.

        Raises:
            ViolationError: float16 cannot hold them: one is not finite, or all are so tiny that rounding moves one by
                more than 2^-10 of the largest.
        """
        found = torch.empty((len(keys), self.network.feature_width), dtype=self.dtype, device=self.images.device)
        measures = []
        with exact_arithmetic(self.precision):
            for start in range(0, len(keys), self.batch):
                part = keys[start : start + self.batch]
                features = self._forward(part)
                rounded = found[start : start + len(part)]
                rounded.copy_(features)
                if self.dtype == torch.float16:
                    # Both sides in float32. Asked about once, at the end: an answer is waited for.
                    measures.append(torch.stack([(features - rounded.float()).abs().max(), features.abs().max()]))
        if measures:
            _refuse_coarse(torch.stack(measures).cpu())
        return found

    def _forward(self, keys: Tensor) -> Tensor:
        padded = sent(torch.cat([keys, keys[-1:].expand(self.batch - len(keys))]), self.images.device)
        images = self.images[padded // self.views]
        inputs = apply_views(images, padded % self.views, self.pad, flip=self.flip)
        self.forwards += self.batch
        with autocast(self.images.device, self.precision):
            features = self.network.features(inputs)
        return features[: len(keys)].float()

    def _reserve(self, entries: int) -> None:
        if entries <= len(self._store):
            return
        most = len(self._place)
        grown = self._store.new_empty((min(most, max(entries, len(self._store) * 3 // 2)), self._store.shape[1]))
        grown[: self._used] = self._store[: self._used]
        self._store = grown


def _refuse_coarse(measures: Tensor) -> None:
    """Refuse where rounding moved a pass's features too far: float32 [passes, 2], the largest move and feature."""
    moved, largest = measures.unbind(1)
    coarse = ~(moved <= largest * 2.0**-10)  # a NaN or an infinity on either side makes the comparison false
    if bool(coarse.any()):
        raise ViolationError(
            f"the extractor gives features (largest {float(largest[coarse][0]):.3g}) that are not finite or that "
            "float16 cannot hold",
            "Add `--feature-dtype fp32`, or use another extractor",
        )
