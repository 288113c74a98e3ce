"""What is given twice counts once, and what cannot be scored is refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.score import score_set

CPU = torch.device("cpu")
PROTOCOL = parse("digits-transfer/convnet@composition=in-place,epochs=1,lr_milestones=none,batch=16,width=0.25,pad=1")
BY_COUNT = parse("digits-transfer/convnet@size=30,epochs=1,lr_milestones=none,width=0.25")


def test_repeated_extractors_protocols_and_seeds_count_once(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    opened = makers.set_of(makers.trial(0), makers.trial(1))
    calls: list[tuple[float, int]] = []
    result = score_set(
        opened,
        tiny_base,
        protocols=[PROTOCOL, replace(PROTOCOL)],
        extractors=[extractor, replace(extractor, path=Path("copy.safetensors"))],
        victim_seeds=(0, 0, 1, 0),
        device=CPU,
        progress=lambda *jobs: calls.append(jobs),
    )
    assert [(row.trial, row.victim_seed) for row in result.rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    (summary,) = result.summaries
    assert (summary.poisoned.n, summary.victim_seeds) == (4, 2)
    assert calls[-1] == (4, 4)


def test_in_place_trials_share_one_control_a_seed(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    opened = makers.set_of(makers.trial(0, count=4), makers.trial(1, count=4))
    for seeds, controls in (((0,), 1), ((0, 1), 2)):
        (summary,) = score_set(
            opened, tiny_base, protocols=[PROTOCOL], extractors=[extractor], victim_seeds=seeds, device=CPU
        ).summaries
        assert summary.distinct_controls == controls
        assert summary.mcnemar_p is None
        assert summary.poisons == ((4, 40),)
    (summary,) = score_set(opened, tiny_base, protocols=[BY_COUNT], extractors=[extractor], device=CPU).summaries
    assert summary.distinct_controls == 2
    assert summary.mcnemar_p is not None
    assert summary.poisons == ((4, 30),)


@pytest.mark.parametrize(
    ("protocol", "mirror", "says"),
    [
        (replace(PROTOCOL, flip=True), False, "mirror"),
        (replace(BY_COUNT, size=31), True, r"trial 0, protocol .*size=31.*evenly by 2 classes"),
        (replace(BY_COUNT, size=80), True, r"needs 40 clean images of class 2, the base has 20"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path, protocol: Any, mirror: bool, says: str
) -> None:
    base = replace(tiny_base, mirror=mirror)
    with pytest.raises(UsageError, match=says):
        score_set(
            makers.set_of(makers.trial()),
            base,
            protocols=[PROTOCOL, protocol],
            extractors=[extractor],
            results=tmp_path / "r",
            device=CPU,
        )
    assert not (tmp_path / "r").exists()
