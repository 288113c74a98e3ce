"""Train a network on clean images: same pretraining, base, machine and versions, same bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, UsageError, ViolationError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.stream import Stream
from poisonsets.manifests.workers import Progress, silent
from poisonsets.victims.device import sent
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.dropout import dropping
from poisonsets.victims.networks.image_size import refuse_single, refuse_size
from poisonsets.victims.networks.normalisation import normalisation
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights
from poisonsets.victims.precision import autocast, exact_arithmetic, refuse_precision
from poisonsets.victims.training.adversarial import Adversary, adversary_of, attacked
from poisonsets.victims.training.labels import images_of
from poisonsets.victims.training.loop import fit, schedule_of
from poisonsets.victims.training.pretraining import Pretraining
from poisonsets.victims.training.views import apply_views, as_input


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and its results on the test images of its classes.

    Attributes:
        network: in eval mode, on the device it was trained on.
        correct: test images classified correctly.
        images: how many there are.
        robust: test images classified correctly when attacked as in training; None after plain training.
    """

    network: Classifier
    correct: int
    images: int
    robust: int | None = None


def train_network(
    pretraining: Pretraining, base: Base, *, device: torch.device, progress: Progress = silent
) -> TrainedNetwork:
    """`fitted_network`, with its results on the test split.

    Raises: as `fitted_network`.
    """
    network = fitted_network(pretraining, base, device=device, progress=progress)
    with exact_arithmetic():
        test = images_of(base.test, pretraining.classes)
        correct, total = accuracy(network, *test, device=device)
        adversary, robust = adversary_of(pretraining), None
        if adversary:
            starts = torch.Generator().manual_seed(Stream("robust accuracy", pretraining.seed).seed())
            robust, _ = accuracy(network, *test, device=device, adversary=adversary, generator=starts)
    return TrainedNetwork(network, correct, total, robust)


def fitted_network(
    pretraining: Pretraining, base: Base, *, device: torch.device, progress: Progress = silent
) -> Classifier:
    """Train from scratch with SGD and cross-entropy on augmented views of the base's training images.

    All randomness comes from CPU generators seeded by the pretraining's seed, so it is the same on every device; the
    arithmetic is not. With an adversary, every step replaces the images by adversarial examples (Madry et al. 2018)
    made against the network as it is before the step, without dropout.

    Args:
        pretraining: every setting.
        base: its training images of the pretraining's classes are used.
        device: where to compute.
        progress: told after each epoch.

    Returns:
        The network in eval mode, on the device.

    Raises:
        UsageError: as `training_ids`; the device cannot compute in the precision; views are mirrored although the
            base's images may not be; the network cannot take images of the base's size, or the batch size leaves a step
            of one image that it cannot train on; or training diverged.
    """
    refuse_precision(pretraining.precision, device)
    if pretraining.flip and not base.mirror:
        raise UsageError(f"the pretraining mirrors images, but those of {base.name} change meaning in a mirror")
    images, labels = training_images(pretraining, base)
    mean, std = normalisation(pretraining.normalise, images)
    generator = torch.Generator().manual_seed(Stream("train", pretraining.seed).seed())
    name, width, side = pretraining.network, pretraining.width, pretraining.input
    network = build(name, len(pretraining.classes), width, mean, std, input=side, generator=generator)
    refuse_size(network, base.train.side)
    refuse_single(network, base.train.side, images=len(labels), batch=pretraining.batch)
    network.placed(device)
    on_device = torch.tensor(images, device=device), torch.tensor(labels, device=device)
    with exact_arithmetic(pretraining.precision):
        _fit(network, pretraining, *on_device, generator=generator, progress=progress)
    return network.eval()


def training_ids(pretraining: Pretraining, base: Base) -> NDArray[np.int64]:
    """The images a pretraining trains on: ascending int64 indices into the training split.

    Raises:
        UsageError: a class has no training image, or fewer than the pretraining asks for.
    """
    each = pretraining.images // len(pretraining.classes)
    chosen = []
    for label in pretraining.classes:
        ids = np.flatnonzero(base.train.labels == label)
        if len(ids) < max(each, 1):
            raise UsageError(
                f"{base.name} has {len(ids) or 'no'} training image{'s' if len(ids) > 1 else ''} of class "
                f"{label}" + (f", the pretraining asks for {each}" if each else "")
            )
        chosen.append(ids[:each] if each else ids)
    return np.sort(np.concatenate(chosen))


def training_images(pretraining: Pretraining, base: Base) -> tuple[Images, Labels]:
    """The images of `training_ids` and their labels' positions in the pretraining's classes. Raises as it."""
    ids = training_ids(pretraining, base)
    return images_of(Split(base.train.images[ids], base.train.labels[ids]), pretraining.classes)


def cached_weights(
    pretraining: Pretraining, base: Base, cache: Path, *, device: torch.device, progress: Progress = silent
) -> Weights:
    """A pretraining's weights from `cache/weights/<pretraining digest>.safetensors`, trained the first time.

    Args:
        pretraining, base, device, progress: as for `fitted_network`.
        cache: the cache folder; made where it does not exist.

    Raises:
        DamagedError: the stored file is damaged, or of another pretraining or base; the remedy is to remove it.
        UsageError: as `fitted_network`; nothing is stored then.
        MissingError: the folder cannot be written.
    """
    path = cache / "weights" / f"{pretraining.digest(base.train.digest)}.safetensors"
    if not path.exists():
        store.refuse_unwritable(path)
        trained = train_network(pretraining, base, device=device, progress=progress)
        # Another process may have stored them meanwhile: equal pretrainings give equal bytes, so replacing is harmless.
        save_weights(path, trained.network, pretraining.record(), provenance(base, trained), overwrite=True)
    remedy = f"Remove {path}, it is trained again when needed"
    try:
        weights = load_weights(path)
    except DamagedError as error:
        raise DamagedError(error.message, remedy) from error
    made_by, made_from = weights.record["pretraining"], weights.record["provenance"]
    if made_by != pretraining.record():
        raise DamagedError(f"{path}: made by another pretraining than its name says", remedy)
    for name in ("train", "test"):
        if made_from.get(name) != base.split(name).digest:
            raise DamagedError(
                f"{path}: made from a {name} split {str(made_from.get(name))[:12]}, "
                f"{base.name} has {base.split(name).digest[:12]}",
                remedy,
            )
    return weights


def provenance(base: Base, trained: TrainedNetwork) -> dict[str, Any]:
    """What a weights file says of its training: base, digests, image side, correct and all test images.

    Of a robust network also `robust`: test images classified correctly under the pretraining's adversary.
    """
    robust = {} if trained.robust is None else {"robust": trained.robust}
    return robust | {
        "base": base.name,
        "train": base.train.digest,
        "test": base.test.digest,
        "side": list(base.train.side),
        "correct": trained.correct,
        "images": trained.images,
        "torch": torch.__version__,
    }


@torch.no_grad()
def accuracy(
    network: Classifier,
    images: Images,
    labels: Labels,
    *,
    device: torch.device,
    batch: int = 256,
    adversary: Adversary | None = None,
    generator: torch.Generator | None = None,
) -> tuple[int, int]:
    """How many images a network on `device` classifies correctly in eval mode, and how many there are.

    Args:
        network: put into eval mode.
        images: uint8 [N, H, W, 3].
        labels: int64 [N], positions among the network's outputs.
        device: where to compute.
        batch: images a forward pass.
        adversary: attacks every image first, if given.
        generator: on the CPU, of the adversary's starts; seeded with 0 where left out.
    """
    network.eval()
    starts = generator or torch.Generator().manual_seed(0)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    for start in range(0, len(labels), batch):
        inputs = as_input(sent(torch.tensor(images[start : start + batch]), device))
        wanted = sent(torch.tensor(labels[start : start + batch]), device)
        if adversary:
            inputs = attacked(network, inputs, wanted, adversary, starts)
        correct += (network(inputs).argmax(1) == wanted).sum()
    return int(correct), len(labels)


def _fit(
    network: Classifier,
    pretraining: Pretraining,
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    progress: Progress,
) -> None:
    adversary, dropout = adversary_of(pretraining), float(pretraining.dropout)

    def transform(here: Tensor, views: Tensor) -> Tensor:
        inputs = apply_views(images[here], views, pretraining.pad, flip=pretraining.flip)
        if not adversary:
            return inputs
        with autocast(labels.device, pretraining.precision):
            return attacked(network, inputs, labels[here], adversary, generator)

    def forward(inputs: Tensor) -> Tensor:
        with dropping(network, dropout, generator):
            logits: Tensor = network(inputs)
        return logits

    network.train()
    try:
        schedule = schedule_of(pretraining)
        fit(
            network,
            transform,
            labels,
            schedule,
            generator=generator,
            forward=forward,
            precision=pretraining.precision,
            progress=progress,
        )
    except ViolationError as error:
        # A pretraining that diverges is a wrong choice of settings; no set is to blame.
        raise UsageError(error.message, error.remedy) from error
