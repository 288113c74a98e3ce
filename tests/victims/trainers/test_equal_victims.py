"""Jobs whose training sets and draws are equal share one victim, whatever they ask it for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scored import score, timeless
from standin import StandInTrial

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.records.trial import SplitTarget
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.trainers.linear_probe import trainer
from poisonsets.victims.trainers.linear_probe.heads import train_heads
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.training import loop

CPU = torch.device("cpu")
SETTINGS = "composition=in-place,epochs=2,lr_milestones=1,batch=16,width=0.25,pad=1"
HEADS = parse(f"digits-transfer/convnet@{SETTINGS}")
SCRATCH = parse(f"digits-scratch/convnet@{SETTINGS}")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a victim or control that is trained, in either engine."""
    counted: list[int] = []

    def heads(plans: Any, *rest: Any, **named: Any) -> Any:
        counted.extend(1 for _ in plans)
        return train_heads(plans, *rest, **named)

    check = loop.refuse_diverged

    def epoch(model: Any, schedule: Any, number: int) -> None:
        check(model, schedule, number)
        counted.extend([1] if number == 0 else [])

    monkeypatch.setattr(trainer, "train_heads", heads)
    monkeypatch.setattr(loop, "refuse_diverged", epoch)
    return counted


def asking(base: Base, trial: StandInTrial, number: int) -> StandInTrial:
    """The same training set, asked for another target under another number."""
    index = int(np.flatnonzero(base.test.labels == 2)[number])
    target = SplitTarget(split="test", index=index, label=2)
    return replace(trial, record=trial.record.model_copy(update={"trial": number, "targets": (target,)}))


@pytest.mark.parametrize("protocol", [HEADS, SCRATCH], ids=["heads", "whole"])
def test_several_targets_of_one_training_set_are_one_victim(
    tiny_base: Base, makers: Any, extractor: Weights, protocol: Protocol, trained: list[int]
) -> None:
    first = makers.trial(0)
    trials = [first, asking(tiny_base, first, 1), asking(tiny_base, first, 2)]
    result = score(makers.set_of(*trials), tiny_base, extractor, protocol, victim_seeds=(0, 1))
    assert len(trained) == 2 * (1 + 1)  # a seed: one victim, one control
    alone = [
        score(makers.set_of(trial), tiny_base, extractor, protocol, victim_seeds=(seed,))
        for trial in trials
        for seed in (0, 1)
    ]
    assert timeless(result) == [row for one in alone for row in timeless(one)]


@pytest.mark.parametrize("protocol", [HEADS, SCRATCH], ids=["heads", "whole"])
def test_one_other_pixel_is_another_victim(
    tiny_base: Base, makers: Any, extractor: Weights, protocol: Protocol, trained: list[int]
) -> None:
    first = makers.trial(0)
    other = asking(tiny_base, first, 1)
    images = other.images.copy()
    images[-1, 0, 0, 0] ^= 1
    score(makers.set_of(first, replace(other, images=images)), tiny_base, extractor, protocol)
    assert len(trained) == 2 + 1  # and one control


def test_a_shared_victim_is_recorded_for_the_targets_of_each(
    tiny_base: Base, makers: Any, extractor: Weights, trained: list[int], tmp_path: Path
) -> None:
    first = makers.trial(0)
    trials = [first, asking(tiny_base, first, 1)]
    rows = score(makers.set_of(*trials), tiny_base, extractor, HEADS, results=tmp_path / "r", trajectories=True).rows
    assert len(trained) == 1 + 1
    for number, row in enumerate(rows):
        folder = tmp_path / str(number)
        score(makers.set_of(trials[number]), tiny_base, extractor, HEADS, results=folder, trajectories=True)
        name = f"trajectories/{row.job}.safetensors"
        assert (folder / name).read_bytes() == (tmp_path / "r" / name).read_bytes()
    assert len({(tmp_path / "r" / f"trajectories/{row.job}.safetensors").read_bytes() for row in rows}) == 2


def test_one_copy_of_equal_poisons_is_kept(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    first, victims, sizes = makers.trial(0), LinearProbeTrainer(HEADS, extractor.network, tiny_base, CPU), []
    inner = victims._cache
    victims._cache = lambda images, dtype: sizes.append(len(images)) or inner(images, dtype)  # type: ignore[method-assign]
    victims.predictions([makers.job(one) for one in (first, asking(tiny_base, first, 1), makers.trial(2))])
    assert sorted(sizes) == [3, 2 * len(first.images)]  # targets, and two sets of poisons
