"""Memory runs out in a score of heads on remembered features: less is computed at a time, the rows are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from scored import timeless

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.features.store import ENOUGH_TRIALS
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.score import score_set
from poisonsets.victims.trainers.linear_probe import heads

PROTOCOL = parse(
    "digits-transfer/convnet@composition=in-place,epochs=3,lr_milestones=none,learning_rate=0.3,batch=8,width=0.25,pad=1"
)
CPU = torch.device("cpu")


class Memory:
    """Room for some heads and some images at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heads, self.images = 1000, 1000
        self.passes: list[int] = []
        train, forward = heads._trained, FeatureCache._forward

        def trained(plans: Any, *more: Any) -> Any:
            self.refuse(len(plans) > self.heads)
            return train(plans, *more)

        def passed(cache: FeatureCache, keys: torch.Tensor) -> torch.Tensor:
            self.passes.append(cache.batch)
            self.refuse(cache.batch > self.images)
            return forward(cache, keys)

        monkeypatch.setattr(heads, "_trained", trained)
        monkeypatch.setattr(FeatureCache, "_forward", passed)

    def refuse(self, full: bool) -> None:
        if full:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(monkeypatch)


def rows(opened: Any, base: Base, extractor: Weights, **options: Any) -> list[dict[str, Any]]:
    found = score_set(opened, base, protocols=[PROTOCOL], extractors=[extractor], device=CPU, **options)
    return timeless(found)


@pytest.mark.parametrize(("heads_fit", "images_fit"), [(2, 1000), (1000, 16), (3, 32)])
@pytest.mark.parametrize("seeds", [1, ENOUGH_TRIALS])
def test_what_does_not_fit_is_halved_and_gives_the_same_rows(
    tiny_base: Base,
    makers: Any,
    extractor: Weights,
    tmp_path: Path,
    memory: Memory,
    seeds: int,
    heads_fit: int,
    images_fit: int,
) -> None:
    """Of so many draws on features come from a file, which a halved run must not share with others."""
    opened, options = makers.set_of(*(makers.trial(i) for i in range(3))), {"victim_seeds": tuple(range(seeds))}
    wanted = rows(opened, tiny_base, extractor, cache=tmp_path / "plain", **options)
    memory.heads, memory.images = heads_fit, images_fit
    assert rows(opened, tiny_base, extractor, cache=tmp_path / "halved", **options) == wanted
    assert len(wanted) == 3 * seeds
    assert min(memory.passes) <= 32
    plain, halved = (
        {path.name for path in (tmp_path / name / "features").glob("*.safetensors")} for name in ("plain", "halved")
    )
    assert len(plain) == int(seeds == ENOUGH_TRIALS)
    if images_fit < 64:  # else it was made before heads did not fit
        assert not plain & halved


def test_memory_that_never_suffices_ends_the_score_which_goes_on_where_it_does(
    tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path, memory: Memory
) -> None:
    opened = makers.set_of(*(makers.trial(i) for i in range(2)))
    memory.heads = 0
    results = tmp_path / "results"
    with pytest.raises(MissingError, match=r"cpu: out of memory.*go on with --resume"):
        rows(opened, tiny_base, extractor, results=results)
    assert set(memory.passes) == {64 >> halvings for halvings in range(limits.HALVINGS + 1)}
    assert not (results / "rows").exists()
    memory.heads = 1000
    assert len(rows(opened, tiny_base, extractor, results=results, resume=True)) == 2
