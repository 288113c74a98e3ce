"""The published transfer victim, written down once more without any of our shortcuts, to compare with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.networks import Classifier
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.linear_probe.draws import Draws
from poisonsets.victims.training.views import apply_views, as_input


class Numbered(nn.Module):
    """A network whose feature is a fixed random vector for each image, which is a number."""

    def __init__(self, images: int, width: int) -> None:
        super().__init__()
        self.feature_width = width
        self.table = torch.randn(images, width, generator=torch.Generator().manual_seed(3))

    def features(self, images: Tensor) -> Tensor:
        return self.table[(images[:, 0, 0, 0] * 255).round().long()]


def numbered(images: int, width: int) -> FeatureCache:
    """The features of that many images that are numbers, in one view each."""
    pixels = torch.arange(images, dtype=torch.uint8)[:, None, None, None].expand(images, 1, 1, 3).contiguous()
    return FeatureCache(Numbered(images, width), pixels, pad=0, flip=False)  # type: ignore[arg-type]


def calibrated(network: Classifier, images: Images) -> Classifier:
    """The network with batch statistics of some images: without them untrained features fade away."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over batches
    with torch.no_grad():
        network.train()(as_input(torch.from_numpy(images)))
    return network.eval()


def training_images(rows: TrainingRows, clean: Images, poisons: Images) -> Tensor:
    """The pixels uint8 [N, H, W, 3] of a training set's rows."""
    images = clean[np.maximum(rows.base, 0)]
    images[rows.slot >= 0] = poisons[rows.slot[rows.slot >= 0]]
    return torch.from_numpy(images)


def train_head(
    row_features: Callable[[Tensor, Tensor], Tensor],
    labels: Tensor,
    draws: Draws,
    protocol: Protocol,
    *,
    after_step: Callable[[nn.Linear], None] | None = None,
    after_epoch: Callable[[int, nn.Linear], None] | None = None,
) -> nn.Linear:
    """The published loop on one head.

    Args:
        row_features: from rows int64 [M] and views int64 [M] to features float32 [M, D].
        labels: int64 [N], positions of the classes.
        draws: every random choice.
        protocol: epochs, batch, optimiser.
        after_step: told when the gradients of a batch stand beside the values they were taken at.
        after_epoch: told which epoch is done.
    """
    head = nn.Linear(draws.weight.shape[1], len(draws.bias))
    head.load_state_dict({"weight": draws.weight, "bias": draws.bias})
    optimizer = torch.optim.SGD(
        head.parameters(),
        lr=float(protocol.learning_rate),
        momentum=float(protocol.momentum),
        weight_decay=float(protocol.weight_decay),
    )
    for epoch in range(protocol.epochs):
        if epoch in protocol.lr_milestones:
            optimizer.param_groups[0]["lr"] *= float(protocol.lr_gamma)
        for start in range(0, len(labels), protocol.batch):
            batch = draws.order[epoch, start : start + protocol.batch]
            features = row_features(batch, draws.views[epoch, batch])
            optimizer.zero_grad()
            F.cross_entropy(head(features), labels[batch]).backward()
            if after_step:
                after_step(head)
            optimizer.step()
        if after_epoch:
            after_epoch(epoch, head)
    return head


def published_head(
    network: Classifier,
    images: Tensor,
    labels: Tensor,
    draws: Draws,
    protocol: Protocol,
    after_epoch: Callable[[int, nn.Linear], None] | None = None,
) -> nn.Linear:
    """Every view goes through the whole network again in every epoch."""
    network.eval()

    @torch.no_grad()
    def features(rows: Tensor, views: Tensor) -> Tensor:
        return network.features(apply_views(images[rows], views, protocol.pad, flip=protocol.flip).contiguous())

    return train_head(features, labels, draws, protocol, after_epoch=after_epoch)


def features_of(
    rows: TrainingRows, clean: FeatureCache, poisons: FeatureCache | None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The features of a training set's rows, image by image from the cache that has them."""
    base, slot = torch.from_numpy(rows.base), torch.from_numpy(rows.slot)

    def found(asked: Tensor, views: Tensor) -> Tensor:
        features = clean.get(base[asked].clamp(min=0), views)
        if poisons is not None:
            here = torch.nonzero(slot[asked] >= 0)[:, 0]
            features[here] = poisons.get(slot[asked[here]], views[here])
        return features

    return found
