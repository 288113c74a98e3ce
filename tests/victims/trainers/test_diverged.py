"""What is not finite counts as nothing: neither as a success nor as a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError, ViolationError
from poisonsets.victims.networks import build
from poisonsets.victims.networks.image_size import refuse_single, refuse_size
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.score import score_set
from poisonsets.victims.trainers.linear_probe import trainer
from poisonsets.victims.training.pretrain import cached_weights, train_network
from poisonsets.victims.training.pretraining import Pretraining

CPU = torch.device("cpu")
# Weight decay times this learning rate is far above 2, so that the head grows at every step.
WILD = parse("digits-transfer/convnet@composition=in-place,learning_rate=100000,batch=8,width=0.25,pad=1")
PRETRAINING = Pretraining("convnet", (0, 1), epochs=2, width="0.25", batch=16, learning_rate="0.05", pad=1)
PLAIN = (("0", "0", "0"), ("1", "1", "1"))


def test_a_diverged_victim_is_refused_and_has_no_row(
    tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path
) -> None:
    with pytest.raises(ViolationError, match=r"trial 1, protocol .*100000.*diverged.*smaller learning rate"):
        score_set(
            makers.set_of(makers.trial(1)),
            tiny_base,
            protocols=[WILD],
            extractors=[extractor],
            results=tmp_path / "r",
            device=CPU,
        )
    assert not list((tmp_path / "r").rglob("rows/*"))


def test_a_diverged_control_is_refused(
    tiny_base: Base, makers: Any, extractor: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = trainer.train_heads

    def spoiled(*given: Any, **named: Any) -> list[torch.nn.Linear]:
        heads = inner(*given, **named)
        with torch.no_grad():
            heads[-1].weight.fill_(float("inf"))  # victims stand before controls
        return heads

    monkeypatch.setattr(trainer, "train_heads", spoiled)
    probes = trainer.LinearProbeTrainer(replace(WILD, learning_rate="0.01"), extractor.network, tiny_base, CPU)
    (refused,) = probes.predictions([makers.job(makers.trial())])
    assert isinstance(refused, ViolationError)
    assert "trial 0" in str(refused)
    assert "clean control diverged" in str(refused)


def test_features_that_are_not_finite_are_refused(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    extractor.network.body.get_submodule("hidden").weight.data *= 1e38
    tame = replace(WILD, learning_rate="0.001")
    with pytest.raises(ViolationError, match=r"trial 0.*(features|diverged)"):
        score_set(makers.set_of(makers.trial()), tiny_base, protocols=[tame], extractors=[extractor], device=CPU)


def test_a_network_whose_training_diverged_is_refused_and_not_stored(tiny_base: Base, tmp_path: Path) -> None:
    wild = replace(PRETRAINING, learning_rate="100000", epochs=30)
    with pytest.raises(UsageError, match=r"diverged.*Lower the learning rate"):
        cached_weights(wild, tiny_base, tmp_path, device=CPU)
    assert not list(tmp_path.rglob("*.safetensors"))


def shrunk(base: Base, side: int) -> Base:
    train, test = (Split(s.images[:, :side, :side].copy(), s.labels) for s in (base.train, base.test))
    return replace(base, train=train, test=test)


def test_images_too_small_for_a_network_are_refused_with_their_size(tiny_base: Base) -> None:
    with pytest.raises(UsageError, match="4x4"):
        train_network(PRETRAINING, shrunk(tiny_base, 4), device=CPU)
    refuse_size(build("convnet", 2, "0.25", *PLAIN), (8, 8))


def test_an_extractor_that_cannot_take_the_bases_images_is_refused(
    tiny_base: Base, makers: Any, extractor: Weights
) -> None:
    silent = replace(extractor, record=extractor.record | {"provenance": {}})
    base = shrunk(tiny_base, 4)
    opened = makers.set_of(makers.trial())
    pinned = opened.manifest.model_copy(update={"base": base.pin()})
    with pytest.raises(MissingError, match="4x4"):
        score_set(replace(opened, manifest=pinned), base, protocols=[replace(WILD)], extractors=[silent], device=CPU)


@pytest.mark.parametrize(("images", "batch"), [(40, 1), (41, 8)])
def test_a_step_of_one_image_is_refused_only_where_it_fails(images: int, batch: int) -> None:
    network = build("resnet18", 2, "0.0625", *PLAIN)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UsageError, match=r"leave a step of one image.*8x8 pixels.*batch size") as caught:
        refuse_single(network, (8, 8), images=images, batch=batch)
    offered = int(caught.value.remedy.rpartition(" ")[2])
    refuse_single(network, (8, 8), images=images, batch=offered)
    refuse_single(network, (16, 16), images=images, batch=batch)
    refuse_single(network, (8, 8), images=48, batch=8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_cached_weights_are_those_of_the_recipe_and_the_base(tiny_base: Base, tmp_path: Path) -> None:
    other = replace(PRETRAINING, seed=1)
    for pretraining in (PRETRAINING, other):
        cached_weights(pretraining, tiny_base, tmp_path, device=CPU)
    names = [tmp_path / "weights" / f"{r.digest(tiny_base.train.digest)}.safetensors" for r in (PRETRAINING, other)]
    names[0].write_bytes(names[1].read_bytes())
    with pytest.raises(DamagedError, match=f"another pretraining.*Remove .*{names[0].name}"):
        cached_weights(PRETRAINING, tiny_base, tmp_path, device=CPU)
    turned = Split(tiny_base.train.images[:, ::-1].copy(), tiny_base.train.labels)
    moved = tmp_path / "weights" / f"{other.digest(turned.digest)}.safetensors"
    names[1].rename(moved)
    with pytest.raises(DamagedError, match="train split"):
        cached_weights(other, replace(tiny_base, train=turned), tmp_path, device=CPU)
