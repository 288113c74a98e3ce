"""A score killed at any moment and resumed gives the rows of one that was left alone, and loses one block of work."""

from __future__ import annotations

import json
import logging
import mmap
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import forked

from poisonsets.manifests.bases.dataset import Base
from poisonsets.victims.features import store
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.score import score_set
from poisonsets.victims.trainers.linear_probe import trainer
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer
from poisonsets.victims.training import loop

LOG = logging.getLogger(__name__)
SEED, KILLS = 4, 10
PASSES, BLOCK, EVERY = 2, 2, 3
PROTOCOLS = (
    parse("digits-transfer/convnet@size=40,epochs=40,lr_milestones=30,learning_rate=0.1,batch=8,width=0.25,pad=5"),
    parse("digits-scratch/convnet@composition=in-place,epochs=13,lr_milestones=11,batch=20,width=0.25,pad=1"),
)
TIMED = {"seconds", "peak_memory_bytes", "checksum"}
# What there is to lose, in the order in which it is done, and how much of it one kill may lose: a part of the features,
# a block of heads and their controls, the epochs since a checkpoint.
LOSS = {"features": PASSES, "heads": 2 * BLOCK, "epochs": EVERY}


class Work:
    """Counts work done here and in children: passes over training images, heads, epochs of whole networks; and steps.

    Passes, epochs of blocks of heads and epochs of whole networks take a few milliseconds each here: they are the
    clock by which kills are timed, which a busy machine does not hurry.
    """

    def __init__(self, patch: pytest.MonkeyPatch, base: Base) -> None:
        self._counts = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        everything = len(base.train.images)
        forward, places, train_heads = FeatureCache._forward, FeatureCache.places, trainer.train_heads
        finished = loop.refuse_diverged

        def passed(cache: FeatureCache, keys: torch.Tensor) -> torch.Tensor:
            features = forward(cache, keys)
            self._count(0, len(cache.images) == everything, steps=1)
            return features

        def placed(cache: FeatureCache, keys: torch.Tensor) -> torch.Tensor:
            self._count(0, 0, steps=len(cache.images) == everything)
            return places(cache, keys)

        def trained(*given: Any, **named: Any) -> list[torch.nn.Linear]:
            heads = train_heads(*given, **named)
            self._count(1, len(heads), steps=1)
            return heads

        def epoch(*given: Any) -> None:
            finished(*given)
            self._count(2, 1, steps=1)

        patch.setattr(FeatureCache, "_forward", passed)
        patch.setattr(FeatureCache, "places", placed)
        patch.setattr(trainer, "train_heads", trained)
        patch.setattr(loop, "refuse_diverged", epoch)

    @property
    def steps(self) -> int:
        return self._counts[3]

    def take(self) -> dict[str, int]:
        """What was done since this was asked last."""
        found = dict(zip(LOSS, self._counts, strict=False))
        self._counts[:4] = memoryview(bytes(32)).cast("q")
        return found

    def _count(self, what: int, more: int, *, steps: int) -> None:
        self._counts[what] += more
        self._counts[3] += steps


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    found = {path.name: json.loads(path.read_bytes()) for path in (folder / "results" / "rows").iterdir()}
    return {name: {key: row[key] for key in row.keys() - TIMED} for name, row in found.items()}


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_score_killed_at_ten_moments_gives_the_same_rows_and_loses_one_block(
    tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_part_rows", lambda cache: PASSES * cache.batch)
    monkeypatch.setattr(trainer.LinearProbeTrainer, "block", BLOCK)
    monkeypatch.setitem(WholeNetworkTrainer.__init__.__kwdefaults__, "every", EVERY)
    work = Work(monkeypatch, tiny_base)
    opened = makers.set_of(*(makers.trial(number) for number in range(4)))

    def score(folder: Path) -> None:
        kept = {"results": folder / "results", "cache": folder / "cache"}
        resume = (folder / "results" / "settings.json").exists()
        pairs = {"protocols": PROTOCOLS, "extractors": [extractor]}
        score_set(opened, tiny_base, **pairs, **kept, resume=resume, device=torch.device("cpu"))

    with forked(lambda: score(tmp_path / "whole")) as process:
        process.join()
    assert process.exitcode == 0
    assert not [name for name in names(tmp_path / "whole") if re.search(r"\.tmp|\.part-|checkpoints", name)]
    steps, whole = work.steps, work.take()
    draw, hit = random.Random(SEED), []
    LOG.warning("seed %d, undisturbed: %s, %d steps", SEED, whole, steps)
    for number in range(KILLS):
        folder, moment, late = tmp_path / str(number), steps * (number + draw.random()) / KILLS, draw.random() * 0.01
        with forked(lambda folder=folder: score(folder)) as process:
            while process.is_alive() and work.steps < moment:
                time.sleep(0.001)
            time.sleep(late)
        assert process.exitcode in (0, -signal.SIGKILL)
        before = work.take()
        hit.append(next((kind for kind in LOSS if before[kind] < whole[kind]), "end"))
        LOG.warning("killed %.1f ms after step %d, in %s: %s", late * 1000, moment, hit[-1], before)
        score(folder)
        again = work.take()
        lost = {kind: before[kind] + again[kind] - whole[kind] for kind in LOSS}
        assert all(0 <= lost[kind] <= most for kind, most in LOSS.items()), lost
        assert sum(map(bool, lost.values())) <= 1, lost
        assert rows(folder) == rows(tmp_path / "whole")
        assert names(folder) == names(tmp_path / "whole")
    assert set(hit) >= set(LOSS)
