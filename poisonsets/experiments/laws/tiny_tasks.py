"""Three tiny trials of any attack, as the driver would give them to it, on whichever device.

The networks are untrained and 4 channels wide: this is for what an attack promises, not for whether it works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from poisonsets.budget import to_levels
from poisonsets.experiments.laws.law import hold
from poisonsets.images import TrainingImages, as_floats
from poisonsets.interface import Budget, Context, Crafted, Task
from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.trial import Linf
from poisonsets.manifests.records.triggers import FixedPlace, PatchTrigger
from poisonsets.registry import RegisteredAttack
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import build

CPU = torch.device("cpu")
TRIALS, POISONS, SIDE = 3, 4, 16
EIGHT = Linf(levels=8)
ADVERSARIAL, SOURCE = 0, 1
# Few of everything that costs time, where an attack has such a setting.
QUICK = {"restarts": "1", "retraining": "1", "sources": "6"}


def network(seed: int, scale: int = 16, device: torch.device = CPU) -> Surrogate:
    """Untrained, with hidden weights so large that a feature attack's published steps move it."""
    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.2", "0.3"))
    built = build("convnet", 2, "0.25", *normal, generator=torch.Generator().manual_seed(seed))
    built.body.get_parameter("hidden.weight").data *= scale
    return Surrogate(built, (ADVERSARIAL, SOURCE), device)


NETWORKS, RETRAINED = (network(1), network(2)), (network(3), network(4))


def pixels(seed: int, *shape: int) -> Images:
    """uint8 [*shape, SIDE, SIDE, 3], black and white pixels among them."""
    values = np.random.default_rng(seed).integers(-40, 296, (*shape, SIDE, SIDE, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


BASES, TARGETS, OTHERS = pixels(0, TRIALS, POISONS), pixels(1, TRIALS, 1), pixels(2, TRIALS, 1)
FIXED = PatchTrigger(image="triggers/law.png", place=FixedPlace(row=9, column=10))
TRIGGER, OTHER_TRIGGER = Trigger(FIXED, pixels(3)[:5, :5]), Trigger(FIXED, pixels(4)[:5, :5])
SOURCES, OTHER_SOURCES = (Split(pixels(seed, 20), np.repeat([ADVERSARIAL, SOURCE], 10)) for seed in (5, 6))


def floats(images: Images, device: torch.device = CPU) -> Tensor:
    """float32 [..., 3, H, W] on the device."""
    return as_floats(images, device)


def task_of(
    entry: RegisteredAttack,
    block: Sequence[int],
    budget: Budget,
    targets: Images,
    trigger: Trigger,
    keep: int,
    device: torch.device,
) -> Task:
    """The trials of a block as the driver would give them to the attack."""
    return Task(
        bases=floats(BASES[list(block)], device),
        base_ids=tuple(tuple(range(POISONS)) for _ in block),
        targets=floats(targets[list(block)], device),
        labels=torch.full((len(block), POISONS), ADVERSARIAL, device=device),
        adversarial_labels=torch.full((len(block),), ADVERSARIAL, device=device),
        budget=budget,
        source_classes=((SOURCE,),) * len(block) if "trigger" in entry.traits.needs else (),
        trigger=trigger if "trigger" in entry.traits.needs else None,
        keep=keep,
    )


def craft(
    entry: RegisteredAttack,
    *,
    budget: Budget = EIGHT,
    targets: Images = TARGETS,
    trigger: Trigger = TRIGGER,
    sources: Split = SOURCES,
    trials: Sequence[int] = range(TRIALS),
    seed: int = 0,
    steps: int = 6,
    networks: tuple[Surrogate, ...] | None = None,
    keep: int = POISONS,
    settings: Mapping[str, str] = MappingProxyType({}),
    device: torch.device = CPU,
) -> Crafted:
    """Craft some of the three trials in one block; attacks that take one trial at a time get one at a time.

    The networks are those of `NETWORKS` where left out. Raises BrokenLaw where the attack writes into its inputs, and
    what the attack raises.
    """
    if networks is None:
        networks = NETWORKS if device == CPU else (network(1, device=device), network(2, device=device))
    retrained = RETRAINED if device == CPU else (network(3, device=device), network(4, device=device))
    wanted = {**QUICK, "steps": str(steps), **settings}
    given = {key: value for key, value in wanted.items() if key in entry.defaults()}
    attack = entry.factory(**entry.settings(given))
    parts = []
    for block in [list(trials)] if entry.traits.batched else [[trial] for trial in trials]:
        task = task_of(entry, block, budget, targets, trigger, keep, device)
        reads = entry.traits.needs & {"source images", "training"}
        context = Context(
            surrogates=networks,
            generators=tuple(torch.Generator().manual_seed(1000 * seed + trial) for trial in block),
            device=device,
            progress=lambda done, total: None,
            mirror=True,
            training=TrainingImages(sources, device) if reads else None,
            retrain=(lambda position, images, times: retrained) if "training" in entry.traits.needs else None,
        )
        parts.append(attack(task, context))
        for name, now, before in (("bases", task.bases, BASES), ("targets", task.targets, targets)):
            unchanged = torch.equal(now, floats(before[block], device))
            hold(unchanged, f"the attack wrote into task.{name}", f"task.{name} as it was: work on a copy")
    kept = [part.kept for part in parts if part.kept is not None]
    history = tuple(curve for part in parts for curve in part.history)
    return Crafted(torch.cat([part.images for part in parts]), history, torch.cat(kept) if kept else None)


def levels(crafted: Crafted, budget: Budget = EIGHT, trials: Sequence[int] = range(TRIALS)) -> Images:
    """uint8 [T, P, H, W, 3]."""
    each = zip(crafted.images.detach(), trials, strict=True)
    return np.stack([to_levels(images, BASES[trial], budget) for images, trial in each])
