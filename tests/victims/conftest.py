"""A tiny base and stand-ins for a poison set, made from the contract's types alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from standin import StandInSet, StandInTrial

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.records.manifest import Manifest, Tool
from poisonsets.manifests.records.origin import AttackRecord, DrawnSetup, SurrogateRecord
from poisonsets.manifests.records.shards import shard_index
from poisonsets.manifests.records.trial import Composition, InPlace, Slots, SplitTarget, Trial, Unconstrained
from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights
from poisonsets.victims.trainers.predictions import Predictions
from poisonsets.victims.trainers.victim_pair import JobInput

SIDE = 16
HALF = ("0.5", "0.5", "0.5")


def _split(per_class: int, seed: int) -> Split:
    """Four classes: a bright square in one of four corners, under noise."""
    generator = np.random.default_rng(seed)
    labels = np.tile(np.arange(4, dtype=np.int64), per_class)
    images = generator.integers(0, 90, (len(labels), SIDE, SIDE, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 8 * (label // 2), 8 * (label % 2)
        image[row : row + 8, column : column + 8] += 150
    return Split(images, labels)


@pytest.fixture(scope="session")
def tiny_base() -> Base:
    return Base("tiny", ("a", "b", "c", "d"), _split(20, 1), _split(10, 2), (2, 3), (0, 1), mirror=True)


class Makers:
    """Builders of trials, of what jobs give a trainer, and of sets, over a base."""

    def __init__(self, base: Base) -> None:
        self.base = base

    def trial(
        self,
        number: int = 0,
        *,
        poisons: str = "target",
        unknown_bases: bool = False,
        composition: Composition | None = None,
        count: int = 6,
    ) -> StandInTrial:
        """A trial whose target is of the first class that victims know and whose poisons are labelled as the second.

        `poisons="target"` makes every poison a copy of the target, `"clean"` leaves the bases as they are.
        Bases repeat where `count` is larger than their class.
        """
        base = self.base
        own, wanted = base.victim_classes[:2]
        target = int(np.flatnonzero(base.test.labels == own)[number])
        bases = np.resize(np.flatnonzero(base.train.labels == wanted)[number:], count)
        pixels = base.train.images[bases]
        if poisons == "target":
            pixels = np.repeat(base.test.images[target][None], count, axis=0)
        labels = np.full(count, wanted, dtype=np.int64)
        record = Trial(
            trial=number,
            targets=(SplitTarget(split="test", index=target, label=own),),
            adversarial_label=wanted,
            labels="clean",
            constraint=Unconstrained(),
            composition=composition or InPlace(),
            slots=Slots(
                bases=tuple(None if unknown_bases else int(b) for b in bases),
                labels=tuple(int(label) for label in labels),
            ),
            pixels=pixel_digest(pixels, labels),
        )
        return StandInTrial(record, pixels)

    def job(self, trial: StandInTrial, seed: int = 0) -> JobInput:
        return JobInput(trial.record, trial.images, trial.target_images(self.base), seed)

    def predictions(self, trainer: Any, *jobs: JobInput) -> list[Predictions]:
        """Those of jobs none of which is refused."""
        found = trainer.predictions(jobs)
        assert all(isinstance(one, Predictions) for one in found), found
        return found

    def set_of(
        self, *trials: StandInTrial, surrogates: tuple[SurrogateRecord, ...] = (), content: str = "c" * 64
    ) -> StandInSet:
        manifest = Manifest(
            name="stand-in",
            content_digest=content,
            checksum="0" * 64,
            base=self.base.pin(),
            setup=DrawnSetup(seed=0, poisons=1),
            seed=0,
            attack=AttackRecord(name="noise", version=1, settings={}),
            surrogates=surrogates,
            trials=(records := tuple(trial.record for trial in trials)),
            shards=shard_index(records),
            files=(),
            tool=Tool(name="test", version="0"),
            libraries={},
        )
        return StandInSet(manifest, trials)


@pytest.fixture
def makers(tiny_base: Base) -> Makers:
    return Makers(tiny_base)


@pytest.fixture
def makers_of_digits(digits: Base) -> Makers:
    return Makers(digits)


@pytest.fixture
def extractor(tmp_path: Path) -> Weights:
    """A narrow, untrained convnet: random features tell the four corners apart well enough."""
    generator = torch.Generator().manual_seed(5)
    network = build("convnet", 2, "0.25", HALF, HALF, generator=generator)
    hidden = network.body.hidden
    assert isinstance(hidden, torch.nn.Linear)
    # The default weights of a layer let features shrink; a head must find them in a few epochs here.
    hidden.weight.data *= 8
    path = tmp_path / "extractor.safetensors"
    save_weights(path, network, {"classes": [0, 1]}, {"side": [SIDE, SIDE]})
    return load_weights(path)
