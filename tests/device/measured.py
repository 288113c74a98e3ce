"""What a step costs a GPU: how often the host waits for it and how many operators it is sent, for whatever trains.

A work is done with few and with many steps, and once more with another epoch: in the differences the costs of beginning
and end cancel. `PYTHONPATH=.:tests python tests/device/measured.py` writes the figures that a test holds and
the docs show.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Final, TypeAlias

import numpy as np
import torch
from device.fake_gpu import DEVICE, Gpu, Places, fake_gpu
from device.figures import FIGURES, Cost
from forge import small_base
from torch import Tensor

from poisonsets import attacks
from poisonsets.experiments.laws.tiny_tasks import ADVERSARIAL, SIDE, SOURCE, craft
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.records.trial import InPlace, Slots, SplitTarget, Trial, Unconstrained
from poisonsets.registry import RegisteredAttack
from poisonsets.surrogates import Surrogate
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.protocols import parse
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.trainers.predictions import Predictions
from poisonsets.victims.trainers.victim_pair import JobInput
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer
from poisonsets.victims.training.pretrain import fitted_network
from poisonsets.victims.training.pretraining import Pretraining

HALF: Final = ("0.5", "0.5", "0.5")
BATCH: Final = 4
Result: TypeAlias = Sequence[Tensor]
"""What a work gives, to be compared between devices."""


@dataclass(frozen=True)
class Work:
    """Something that takes steps.

    Attributes:
        do: does it on a device with so many steps an epoch and so many epochs, of which there may be one alone.
        few, many: steps of the runs that are compared.
        at_once: how many victims are trained in a run, one after the other.
        epochs: it may have several.
        exact: it gives the bytes of the CPU.
    """

    do: Callable[[torch.device, int, int], Result]
    few: int = 1
    many: int = 3
    at_once: int = 1
    epochs: bool = True
    exact: bool = False


def images_for(steps: int) -> Base:
    """A base of two classes with so many batches of training images."""
    return small_base(classes=2, each=BATCH * steps // 2, side=SIDE)


def network(name: str) -> Classifier:
    return build(name, 2, "0.0625", HALF, HALF, generator=torch.Generator().manual_seed(1)).eval()


def train(device: torch.device, steps: int, epochs: int, **settings: str | int) -> Result:
    """A pretraining; a ResNet-18 where no other network is asked for."""
    named = {"network": "resnet18", "width": "0.0625", "learning_rate": "0.01"} | settings
    pretraining = Pretraining(classes=(0, 1), epochs=epochs, batch=BATCH, **named)
    return list(fitted_network(pretraining, images_for(steps), device=device).state_dict().values())


def job(base: Base) -> JobInput:
    """A trial of half of a class, each poison another copy of the target."""
    bases = np.flatnonzero(base.train.labels == 1)[::2]
    target = int(np.flatnonzero(base.test.labels == 0)[0])
    poisons = np.repeat(base.test.images[target][None], len(bases), axis=0)
    labels = np.ones(len(bases), dtype=np.int64)
    trial = Trial(
        trial=0,
        targets=(SplitTarget(split="test", index=target, label=0),),
        adversarial_label=1,
        labels="clean",
        constraint=Unconstrained(),
        composition=InPlace(),
        slots=Slots(bases=tuple(bases.tolist()), labels=tuple(labels.tolist())),
        pixels=pixel_digest(poisons, labels),
    )
    return JobInput(trial, poisons, base.test.images[[target]], 0)


def victim(device: torch.device, steps: int, epochs: int, protocol: str, *, curves: bool = False) -> Result:
    """A victim and its clean control; the curves of their confidences where they are recorded."""
    settings = f"composition=in-place,epochs={epochs},lr_milestones=none,batch={BATCH},width=0.0625,learning_rate=0.01"
    parsed, base = parse(f"{protocol},{settings}"), images_for(steps)
    extractor = network(parsed.network)
    kind = LinearProbeTrainer if parsed.batched else WholeNetworkTrainer
    (found,) = kind(parsed, extractor, base, device, curves=curves).predictions([job(base)])
    assert isinstance(found, Predictions)
    counted = torch.tensor([found.victim.labels[0], found.victim.correct])
    return [counted, torch.from_numpy(found.victim.curves.adversarial_loss)] if found.victim.curves else [counted]


def features(device: torch.device, steps: int, _epochs: int) -> Result:
    """As many features as fit into so many forward passes on a GPU."""
    base = images_for(2)
    images = torch.tensor(np.resize(base.train.images, (1024 * steps, SIDE, SIDE, 3)), device=device)
    made = FeatureCache(folded(network("convnet")).to(device), images, pad=0, flip=False, dtype=torch.float16)
    return [made.computed(torch.arange(1024 * steps))]


def poisons(device: torch.device, steps: int, _epochs: int, entry: RegisteredAttack, of: str = "") -> Result:
    """A tiny trial of an attack; on another network than the usual ones where one is named."""
    networks = (Surrogate(network(of), (ADVERSARIAL, SOURCE), device),) if of else None
    found = craft(entry, trials=[0], steps=steps, networks=networks, device=device)
    return [found.images, torch.tensor(found.history)]


def works() -> Iterator[tuple[str, Work]]:
    """Every work by its name in the table: of attacks those of the registry that take steps."""
    adversary = {"adversary": 8, "adversary_steps": 5, "adversary_step": "2"}
    yield "`train`", Work(train)
    yield "`train --adversarial`, 5 ascent steps", Work(partial(train, **adversary))
    yield "`train --dropout`", Work(partial(train, dropout="0.25"))
    for name, protocol, options in (
        ("victim from scratch", "cifar10-scratch/resnet18@pad=4", {}),
        ("victim from scratch, sub-pixel views", "witches-brew-cifar10/resnet18@pad=4", {}),
        ("victim from scratch with `--trajectories`", "cifar10-scratch/resnet18@pad=4", {"curves": True}),
        ("victim fine-tuned end to end", "cifar10-transfer/resnet18@training=end-to-end", {}),
        ("head alone, Adam", "cifar10-transfer/resnet18@optimiser=adam", {}),
    ):
        yield name, Work(partial(victim, protocol=protocol, **options), at_once=2)
    heads = partial(victim, protocol="cifar10-transfer/convnet@augment=none")
    yield "25 heads on features", Work(heads, few=8, many=16, exact=True)
    yield "25 heads on features with `--trajectories`", Work(partial(heads, curves=True), few=8, many=16, exact=True)
    yield "features of 1,024 images", Work(features, epochs=False, exact=True)
    for name, entry in attacks.attacks().items():
        if "steps" in entry.defaults():
            yield f"`{name}`", Work(partial(poisons, entry=entry), few=2, many=4, epochs=False, exact=True)
    entry = attacks.find("gradient-matching")
    yield "`gradient-matching` on a ResNet-18", Work(partial(poisons, entry=entry, of="resnet18"), epochs=False)


@cache
def measured(name: str) -> tuple[Cost, Result, Gpu]:
    """What a step of a work costs, what its longest run gives, and what the GPU was asked for in all runs."""
    work = dict(works())[name]
    few, _, _ = _run(work, work.few, 1)
    many, found, every = _run(work, work.many, 1)
    steps = (work.many - work.few) * work.at_once
    cost = [(much.total() - little.total()) / steps for much, little in zip(many, few, strict=True)]
    again = None
    if work.epochs:
        twice, _, _ = _run(work, work.few, 2)
        again = (twice[0].total() - few[0].total()) / work.at_once - work.few * cost[0]
    return Cost(cost[0], cost[1], again), found, every


def _run(work: Work, steps: int, epochs: int) -> tuple[tuple[Places, Places], Result, Gpu]:
    with fake_gpu() as gpu:
        found = work.do(DEVICE, steps, epochs)
        counted = gpu.syncs.copy(), gpu.launches.copy()
        return counted, [one.cpu() for one in found], gpu


if __name__ == "__main__":
    found = {name: asdict(measured(name)[0]) for name, _ in works()}
    FIGURES.write_text(json.dumps(found, indent=1) + "\n")
