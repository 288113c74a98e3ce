"""Verification: constraints in passes of a plain copy, whole sets in images a second, and memory over trials."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from benchmarks.bench import Case

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.files.pixels import Images, pixel_digest
from poisonsets.manifests.records.manifest import Tool
from poisonsets.manifests.records.origin import AttackRecord, DrawnSetup
from poisonsets.manifests.records.trial import InPlace, Linf, Outcome, Slots, Trial
from poisonsets.manifests.sets import writer
from poisonsets.manifests.trials.drawn import draw
from poisonsets.manifests.verification import distance
from poisonsets.manifests.verification.findings import Report
from poisonsets.manifests.verification.sample import Sample
from poisonsets.manifests.verification.verify import verify

IMAGES, TRIALS, SLOTS, SIDE, LEVELS = 50_000, 20, 500, 32, 8
RATE = 8_000
FEW = Sample(part=1, parts=5)
SETUP = DrawnSetup(seed=1, poisons=SLOTS)


@cache
def _base() -> Base:
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8), np.arange(count) % 10)

    classes = tuple(range(10))
    return Base("random", tuple("abcdefghij"), split(IMAGES), split(10_000), classes, classes, mirror=False)


def _moved(images: Images, seed: int) -> Images:
    """The images with every value moved by up to `LEVELS`."""
    noise = np.random.default_rng(seed).integers(-LEVELS, LEVELS + 1, images.shape, dtype=np.int16)
    noise += images
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


def _write(folder: Path) -> Path:
    base = _base()
    with writer.write_set(folder, {"bench": 1}, resume=False) as unfinished:
        for number in range(TRIALS):
            plan = draw(base, SETUP, number)
            images, labels = _moved(base.train.images[list(plan.bases)], number), (plan.adversarial_label,) * SLOTS
            record = Trial(
                trial=number,
                targets=plan.targets,
                adversarial_label=plan.adversarial_label,
                labels="clean",
                constraint=Linf(levels=LEVELS),
                composition=InPlace(),
                slots=Slots(bases=plan.bases, labels=labels),
                pixels=pixel_digest(images, np.array(labels)),
                outcome=Outcome(moved=SLOTS),
            )
            unfinished.add_trial(record, images)
        head = {"name": "bench", "base": base.pin(), "setup": SETUP, "seed": 1, "libraries": {}}
        attack = AttackRecord(name="bench", version=1, settings={})
        unfinished.publish({**head, "attack": attack, "tool": Tool(name="bench", version="1")}, {"bench": "1"})
    return folder


def _clean(folder: Path, sample: Sample | None = None) -> Report:
    report = verify(folder, lambda pin: _base(), sample=sample)
    if not report.clean:
        raise RuntimeError("the set of a benchmark does not verify: its times say nothing")
    return report


def _seconds(folder: Path) -> Callable[[], float]:
    """CPU seconds that so many images take as one second's goal has."""

    def run() -> float:
        started = time.process_time()
        poisons = _clean(folder).checked["poisons"]
        return (time.process_time() - started) * RATE / poisons

    return run


def _peak(folder: Path, sample: Sample | None) -> Callable[[], float]:
    """MiB that a verification held at most, the base left out."""

    def run() -> float:
        _base()
        tracemalloc.start()
        try:
            _clean(folder, sample)
            return tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()

    return run


def _figure(side: Callable[[], object]) -> float:
    """The side's own result is its figure."""
    value = side()
    return value if isinstance(value, float) else 0.0


def cases() -> list[Case]:
    """Two cases of constraints over 50,000 images, and two of whole sets."""
    clean = _base().train.images
    rows = np.arange(IMAGES)
    ids = np.random.default_rng(2).permutation(IMAGES)
    aligned = _moved(clean, 1)
    moved, copies = aligned[ids], (np.empty_like(clean), np.empty_like(clean))

    def copy() -> None:
        np.copyto(copies[0], moved)
        np.copyto(copies[1], clean)

    def screen() -> bool:
        blocks = distance.pixel_differences(aligned, rows, clean, rows)
        return all(int(distance.largest(differences).max()) <= LEVELS for _, differences in blocks)

    def everything() -> list[object]:
        blocks = distance.pixel_differences(moved, rows, clean, ids)
        return [(distance.largest(differences), distance.squared(differences)) for _, differences in blocks]

    folder = Path(tempfile.mkdtemp(prefix="bench-verify-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    many = _write(folder / "many")
    passes = "plain: one copy of the bytes that are read, the images and their bases"
    whole = f"{TRIALS} trials of {SLOTS} poisons, all checks and figures, read from disk"
    return [
        Case(
            "constraint screen",
            screen,
            copy,
            "CPU s",
            1 / 2,
            f"yes or no, {IMAGES} images of 32x32 in the base's order; {passes}",
        ),
        Case(
            "constraint figures",
            everything,
            copy,
            "CPU s",
            1 / 10,
            f"largest move and squared distance, {IMAGES} in shuffled order; {passes}",
        ),
        Case("verify", _seconds(many), lambda: 1.0, "CPU s", 1, f"a second for {RATE} images; {whole}", 1, _figure),
        Case(
            "verify, peak memory",
            _peak(many, None),
            _peak(many, FEW),
            "MiB",
            0.95,
            f"the base left out; plain: the same set, {TRIALS // FEW.parts} of its {TRIALS} trials read",
            1,
            _figure,
        ),
    ]
