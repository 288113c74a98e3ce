"""How the golden set is made: from sha256 alone, so that no library release and no machine changes a byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.files.pixels import Images, image_digest, pixel_digest
from poisonsets.manifests.files.png import encode
from poisonsets.manifests.overlay.stamp import Trigger, stamp
from poisonsets.manifests.records.manifest import Tool
from poisonsets.manifests.records.origin import AttackRecord, DrawnSetup
from poisonsets.manifests.records.trial import L2, Add, Composition, Constraint, InPlace, Linf, Outcome, Slots, Trial
from poisonsets.manifests.records.triggers import PatchTrigger, RandomPlace
from poisonsets.manifests.sets import writer
from poisonsets.manifests.trials.drawn import draw

GOLDEN = Path(__file__).parent / "poisonset-1"
SETUP = DrawnSetup(seed=7, poisons=3)
RUN = {"started": "2026-01-01T00:00:00+00:00", "seconds": "0.000", "host": "none", "device": "none"}


def noise(name: str, *shape: int) -> Images:
    """uint8 of any shape from sha256 alone, so that no library release changes it."""
    size = int(np.prod(shape))
    blocks = (hashlib.sha256(f"{name} {i}".encode()).digest() for i in range(-(-size // 32)))
    image: Images = np.frombuffer(b"".join(blocks)[:size], np.uint8).reshape(shape).copy()
    return image


def golden_base() -> Base:
    """36 training and 12 test images of 8x8 in three classes."""
    labels = tuple(np.arange(size, dtype=np.int64) % 3 for size in (36, 12))
    train, test = (Split(noise(name, len(y), 8, 8, 3), y) for name, y in zip(("train", "test"), labels, strict=True))
    return Base("golden", ("zero", "one", "two"), train, test, (0, 1, 2), (0, 1, 2), mirror=False)


def cross() -> Trigger:
    """A 3x3 cross with black in it; only the pixels under its mask count."""
    record = PatchTrigger(image="triggers/cross.png", mask="triggers/cross-mask.png", place=RandomPlace(seed=11))
    mask: NDArray[np.bool_] = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.bool_)
    image = noise("cross", 3, 3, 3)
    image[1, 1] = 0
    return Trigger(record, image, mask)


def poisons(base: Base, bases: tuple[int, ...], trigger: Trigger | None) -> Images:
    """Every channel value moved by -8..8 levels, and then the trigger on it where there is one."""
    clean = base.train.images[list(bases)].astype(np.int64)
    moved = np.clip(clean + noise("delta", *clean.shape) % 17 - 8, 0, 255).astype(np.uint8)
    if trigger is None:
        return moved
    return np.stack([stamp(image, trigger, f"train/{i}") for image, i in zip(moved, bases, strict=True)])


def golden_trial(base: Base, number: int, trigger: Trigger | None) -> tuple[Trial, Images]:
    plan = draw(base, SETUP, number)
    images = poisons(base, plan.bases, trigger)
    labels = (plan.adversarial_label,) * len(plan.bases)
    constraint: Constraint = L2(squared_levels=5000, exempt_trigger=True) if trigger else Linf(levels=8)
    composition: Composition = Add() if trigger else InPlace()
    record = Trial(
        trial=number,
        targets=plan.targets,
        adversarial_label=plan.adversarial_label,
        labels="clean",
        constraint=constraint,
        composition=composition,
        trigger="cross" if trigger else None,
        slots=Slots(bases=plan.bases, labels=labels),
        pixels=pixel_digest(images, np.array(labels, dtype=np.int64)),
        outcome=Outcome(moved=3, objective=("1.5", "0.25")),
    )
    return record, images


def write_golden(folder: Path) -> None:
    """The golden set, all of its bytes; nothing in it comes from the machine."""
    base, trigger = golden_base(), cross()
    pictures = trigger.pictures()
    head = {
        "name": "golden",
        "base": base.pin(),
        "setup": SETUP,
        "seed": 7,
        "attack": AttackRecord(name="golden", version=1, settings={"steps": 2, "learning_rate": "0.5"}),
        "triggers": {"cross": trigger.record},
        "trigger_pixels": {path: image_digest(picture) for path, picture in pictures.items()},
        "tool": Tool(name="golden", version="1"),
        "libraries": {"python": "3.11.0", "numpy": "2.0.0"},
    }
    with writer.write_set(folder, {"golden": 1}, resume=False) as unfinished:
        for number, worn in ((0, None), (1, trigger)):
            unfinished.add_trial(*golden_trial(base, number, worn))
        for path, picture in pictures.items():
            unfinished.add_file(path, encode(picture))
        unfinished.publish(head, RUN)
