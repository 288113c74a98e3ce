"""A scratch victim's training step with its loading, beside the plain loop over images opened one by one."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.bench import Case
from PIL import Image, ImageOps
from torch import Tensor

from poisonsets.victims.networks import build
from poisonsets.victims.networks.normalisation import CONSTANTS
from poisonsets.victims.precision import Precision, exact_arithmetic
from poisonsets.victims.protocols import parse
from poisonsets.victims.training.loop import fit, schedule_of
from poisonsets.victims.training.views import apply_views

STEPS, BATCH, CLASSES = 2, 128, 10
MEAN, STD = CONSTANTS["cifar10"]
PROTOCOL = parse("cifar10-scratch/resnet18@epochs=1,width=0.25")


def cases() -> list[Case]:
    """One epoch of a few steps."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (STEPS * BATCH, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(len(images), dtype=np.int64) % CLASSES
    goals: dict[Precision, float] = {"fp32": 1.4, "bf16": 2}
    return [
        Case(
            name="scratch training step with loading, resnet18 x0.25" + ("" if precision == "fp32" else ", in bf16"),
            ours=partial(_ours, images, labels, precision),
            plain=lambda: _plain(images, labels),
            unit="CPU s",
            goal=goal,
            note=f"{STEPS} steps of {BATCH} images in {precision}; plain, in fp32: each image through PIL (crop, "
            "mirror, to tensor, normalise) in a loader's loop without workers, network and images laid out "
            "channels-first, normalisation outside the network, torch.optim.SGD",
        )
        for precision, goal in goals.items()
    ]


def _ours(images: np.ndarray, labels: np.ndarray, precision: Precision) -> None:
    generator = torch.Generator().manual_seed(0)
    network = build(PROTOCOL.network, CLASSES, PROTOCOL.width, MEAN, STD, generator=generator)
    network = network.placed(torch.device("cpu")).train()
    resident = torch.from_numpy(images)

    def look(here: Tensor, views: Tensor) -> Tensor:
        return apply_views(resident[here], views, PROTOCOL.pad, flip=True)

    with exact_arithmetic(precision):
        fit(*(network, look, torch.from_numpy(labels), schedule_of(PROTOCOL)), generator=generator, precision=precision)


def _plain(images: np.ndarray, labels: np.ndarray) -> None:
    generator = torch.Generator().manual_seed(0)
    network = build(PROTOCOL.network, CLASSES, PROTOCOL.width, ("0",) * 3, ("1",) * 3, generator=generator)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    order = torch.randperm(len(labels), generator=generator).tolist()
    for start in range(0, len(order), BATCH):
        here = order[start : start + BATCH]
        inputs = torch.stack([_opened(images[place], generator) for place in here])
        loss = F.cross_entropy(network(inputs), torch.from_numpy(labels[here]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _opened(pixels: np.ndarray, generator: torch.Generator) -> Tensor:
    """An image float32 [3, H, W] as torchvision's transforms make it."""
    image = ImageOps.expand(Image.fromarray(pixels), 4)
    left, top = torch.randint(9, (2,), generator=generator).tolist()
    image = image.crop((left, top, left + 32, top + 32))
    if torch.rand(1, generator=generator) < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    found = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    mean, std = (torch.tensor([float(value) for value in values])[:, None, None] for values in (MEAN, STD))
    return found.sub_(mean).div_(std)
