"""The attacks that optimise nothing: blocks of whole arrays, beside a loop over images as a paper's code has it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from benchmarks.bench import Case
from benchmarks.case_simplex import compared

from poisonsets import attacks
from poisonsets.budget import to_levels
from poisonsets.images import as_floats, stamp_training
from poisonsets.interface import Context, Task
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.trial import Linf, Unconstrained
from poisonsets.manifests.records.triggers import FixedPlace, PatchTrigger

TRIALS, POISONS, SIDE, LEVELS, MIXED = 10, 50, 32, 8, 0.3
CPU = torch.device("cpu")
NOTE = f"{TRIALS} trials of {POISONS} poisons, from 8-bit bases to 8-bit poisons; plain: numpy, an image at a time; "
EXACT = "equal bytes"


def cases() -> list[Case]:
    """Label flips, watermarks, patches and noise."""
    drawing = np.random.default_rng(0)
    bases = drawing.integers(0, 256, (TRIALS, POISONS, SIDE, SIDE, 3), dtype=np.uint8)
    targets = drawing.integers(0, 256, (TRIALS, 1, SIDE, SIDE, 3), dtype=np.uint8)
    patch = drawing.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    place = FixedPlace(row=27, column=27)
    trigger = Trigger(PatchTrigger(image="triggers/bench.png", place=place), patch)
    sides: dict[str, tuple[Callable[[], Images], Callable[[], Images], str]] = {
        "label-flip": (lambda: _crafted("label-flip", bases, targets, None), lambda: _each(bases, np.copy), EXACT),
        "watermark": (
            lambda: _crafted("watermark", bases, targets, None),
            lambda: np.stack([_watermarked(*pair) for pair in zip(bases, targets[:, 0], strict=True)]),
            "at most one value in a hundred differs, by one level, where a half is rounded",
        ),
        "patch-backdoor": (
            lambda: _crafted("patch-backdoor", bases, targets, trigger),
            lambda: _each(bases, lambda image: _patched(image, patch, place)),
            EXACT,
        ),
        "noise": (lambda: _crafted("noise", bases, targets, None), lambda: _noisy(bases), "both fill the budget"),
    }
    return [
        Case(f"{name} crafting", *compared(ours, plain, _agreement(name)), "CPU s", 0.1, NOTE + said)
        for name, (ours, plain, said) in sides.items()
    ]


def _crafted(name: str, bases: Images, targets: Images, trigger: Trigger | None) -> Images:
    """uint8 [T, P, H, W, 3], rounded and stamped as the driver does it."""
    free = name in ("label-flip", "patch-backdoor")
    task = Task(
        bases=as_floats(bases, CPU),
        base_ids=tuple(tuple(range(POISONS)) for _ in range(TRIALS)),
        targets=as_floats(targets, CPU),
        labels=torch.zeros(TRIALS, POISONS, dtype=torch.int64),
        adversarial_labels=torch.zeros(TRIALS, dtype=torch.int64),
        budget=Unconstrained() if free else Linf(levels=LEVELS),
        trigger=trigger,
    )
    generators = tuple(torch.Generator().manual_seed(trial) for trial in range(TRIALS))
    context = Context((), generators, CPU, lambda done, total: None)
    images = attacks.find(name).factory()(task, context).images.flatten(0, 1)
    found = to_levels(images, bases.reshape(-1, SIDE, SIDE, 3), task.budget)
    if trigger is not None:
        found = stamp_training(found, trigger, list(range(len(found))))
    return found.reshape(bases.shape)


def _each(bases: Images, change: Callable[[Images], Images]) -> Images:
    return np.stack([np.stack([change(image) for image in trial]) for trial in bases])


def _watermarked(bases: Images, target: Images) -> Images:
    shown = []
    for base in bases:
        mixed = MIXED * target.astype(np.float64) + (1 - MIXED) * base
        near = np.clip(mixed, base.astype(np.float64) - LEVELS, base.astype(np.float64) + LEVELS)
        shown.append(np.clip(np.round(near), 0, 255).astype(np.uint8))
    return np.stack(shown)


def _patched(image: Images, patch: Images, place: FixedPlace) -> Images:
    stamped = image.copy()
    height, width, _ = patch.shape
    stamped[place.row : place.row + height, place.column : place.column + width] = patch
    return stamped


def _noisy(bases: Images) -> Images:
    drawing = np.random.default_rng(0)

    def moved(image: Images) -> Images:
        noise = drawing.integers(-LEVELS, LEVELS + 1, image.shape)
        return np.clip(image.astype(np.int64) + noise, 0, 255).astype(np.uint8)

    return _each(bases, moved)


def _agreement(name: str) -> Callable[[Images, Images], bool]:
    def agree(ours: Images, plain: Images) -> bool:
        apart = np.abs(ours.astype(np.int64) - plain)
        if name == "noise":  # other draws: two uniform ones are at most twice the budget apart, nearly always
            return bool(apart.mean() > 0 and apart.max() == 2 * LEVELS)
        return bool(apart.max() <= (name == "watermark") and (apart > 0).mean() <= 1e-2)

    return agree
