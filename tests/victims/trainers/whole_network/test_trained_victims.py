"""Victims that are whole networks: what they start from, what they are trained on, and that they answer as trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, UsageError, ViolationError
from poisonsets.manifests.overlay.compose import ByCount, clean_control, compose
from poisonsets.manifests.records.trial import Add, Supplant
from poisonsets.victims.networks import build
from poisonsets.victims.networks.normalisation import CONSTANTS, NONE, channel_statistics
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.scoring.extractors import matched
from poisonsets.victims.scoring.preflight import preflight
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.trainers.training_rows import training_rows
from poisonsets.victims.trainers.whole_network.initial_values import initialise, network_spec
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer
from poisonsets.victims.training.labels import images_of

CPU = torch.device("cpu")
SETTINGS = "composition=in-place,batch=16,width=0.25,pad=1"
SCRATCH = parse(f"digits-scratch/convnet@{SETTINGS},epochs=6,lr_milestones=4")
WHOLE = parse(f"digits-transfer/convnet@{SETTINGS},epochs=10,lr_milestones=9,training=end-to-end,learning_rate=0.01")
FROZEN = parse(f"digits-transfer/convnet@{SETTINGS},epochs=6,lr_milestones=4,learning_rate=0.1")


@pytest.mark.parametrize("protocol", [SCRATCH, WHOLE], ids=["scratch", "end-to-end"])
def test_poisons_that_show_the_target_succeed_and_clean_ones_do_not(
    tiny_base: Base, makers: Any, extractor: Weights, protocol: Protocol
) -> None:
    victims = WholeNetworkTrainer(replace(protocol, composition="trial"), extractor.network, tiny_base, CPU)
    (poisoned,) = makers.predictions(victims, makers.job(makers.trial(count=30, composition=Add())))
    assert (poisoned.victim.labels, poisoned.control.labels) == ((3,), (2,))
    assert (poisoned.test_images, poisoned.training_images, poisoned.poisons) == (20, 70, 30)
    assert poisoned.control.correct == 20
    (clean,) = makers.predictions(victims, makers.job(makers.trial(poisons="clean")))
    assert clean.victim.labels == clean.control.labels == (2,)
    # The same pixels, drawn alike: the victim of clean "poisons" is its own control.
    assert clean.victim.correct == clean.control.correct


@pytest.mark.parametrize(
    "protocol",
    [
        SCRATCH,
        WHOLE,
        replace(SCRATCH, augment="sub-pixel", flip=True, nesterov=True),
        replace(WHOLE, optimiser="adamw", learning_rate="0.001"),
        replace(FROZEN, optimiser="adam", learning_rate="0.01"),
        replace(FROZEN, optimiser="adam", learning_rate="0.01", pad=0),
    ],
    ids=lambda p: p.id,
)
def test_a_killed_victim_goes_on_to_the_same_bytes(
    tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path, protocol: Protocol, monkeypatch: Any
) -> None:
    one, folder = makers.job(makers.trial()), tmp_path / "kept"
    protocol = replace(protocol, epochs=4)
    plain = WholeNetworkTrainer(protocol, extractor.network, tiny_base, CPU)
    wanted = makers.predictions(plain, one)
    killed = _Kill(monkeypatch, after=3)
    with pytest.raises(KeyboardInterrupt):
        WholeNetworkTrainer(protocol, extractor.network, tiny_base, CPU, checkpoints=folder, every=2).predictions([one])
    killed.never_again()
    assert len(list(folder.iterdir())) == 1
    resumed = WholeNetworkTrainer(protocol, extractor.network, tiny_base, CPU, checkpoints=folder, every=2)
    assert makers.predictions(resumed, one) == wanted
    states = [victims._model.state_dict() for victims in (plain, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert killed.epochs < 3 + 8
    # Both victim and control are kept now, and neither is trained again.
    assert len(list(folder.iterdir())) == 2
    before = killed.epochs
    again = WholeNetworkTrainer(protocol, extractor.network, tiny_base, CPU, checkpoints=folder)
    assert makers.predictions(again, one) == wanted
    assert killed.epochs == before
    # Rows are stored between two calls: then only the control's is needed.
    again.predictions([])
    assert len(list(folder.iterdir())) == 1


class _Kill:
    """Counts epochs, and interrupts after some."""

    def __init__(self, monkeypatch: Any, after: int) -> None:
        from poisonsets.victims.training import loop

        self.epochs, self.after, check = 0, after, loop.refuse_diverged

        def counted(*arguments: Any) -> None:
            check(*arguments)
            self.epochs += 1
            if self.epochs == self.after:
                raise KeyboardInterrupt

        monkeypatch.setattr(loop, "refuse_diverged", counted)

    def never_again(self) -> None:
        self.after = -1


def start(protocol: Protocol, extractor: Any, base: Base, seed: int = 0) -> Any:
    network = build("convnet", 2, protocol.width, *NONE)
    network.spec = network_spec(protocol, extractor, base)
    initialise(network, protocol, extractor, torch.Generator().manual_seed(seed))
    return network


def test_end_to_end_starts_from_the_extractor_with_a_fresh_head_and_trains_everything(
    tiny_base: Base, makers: Any, extractor: Weights
) -> None:
    one, other = start(WHOLE, extractor.network, tiny_base), start(WHOLE, extractor.network, tiny_base, seed=1)
    given = extractor.network.state_dict()
    for network in (one, other):
        assert not network.training
        assert all(torch.equal(network.state_dict()[name], given[name]) for name in given if "head" not in name)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert not torch.equal(one.head.weight, extractor.network.head.weight)
    kept = start(replace(WHOLE, head="kept"), extractor.network, tiny_base)
    assert torch.equal(kept.head.weight, extractor.network.head.weight)
    victims = WholeNetworkTrainer(replace(WHOLE, epochs=1), extractor.network, tiny_base, CPU)
    makers.predictions(victims, makers.job(makers.trial()))
    moved = victims._network.state_dict()
    still = {name for name in given if torch.equal(moved[name], given[name])}
    # Normalisation and running statistics stay, every weight moves.
    assert still == {name for name, _ in extractor.network.named_buffers()}
    assert all(torch.equal(tensor, given[name]) for name, tensor in extractor.network.state_dict().items())


def test_from_scratch_nothing_of_an_extractor_is_used(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    asked = makers.job(makers.trial())
    states = []
    for given in (extractor.network, None):
        victims = WholeNetworkTrainer(replace(SCRATCH, epochs=1), given, tiny_base, CPU)
        makers.predictions(victims, asked)
        states.append(victims._network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(UsageError, match="needs an extractor"):
        WholeNetworkTrainer(WHOLE, None, tiny_base, CPU)


def test_a_frozen_extractor_under_sgd_gives_the_heads_of_the_batched_engine(
    tiny_base: Base, makers: Any, extractor: Weights
) -> None:
    asked = [makers.job(makers.trial(i), seed) for i in (0, 1) for seed in (0, 1)]
    whole = makers.predictions(WholeNetworkTrainer(FROZEN, extractor.network, tiny_base, CPU), *asked)
    batched = makers.predictions(LinearProbeTrainer(FROZEN, extractor.network, tiny_base, CPU, features="fp32"), *asked)
    for one, other in zip(whole, batched, strict=True):
        assert one.victim.labels == other.victim.labels
        assert one.control.labels == other.control.labels
        assert abs(one.victim.correct - other.victim.correct) <= 2


def test_normalisation_is_what_the_protocol_says(tiny_base: Base, extractor: Weights) -> None:
    own = channel_statistics(images_of(tiny_base.train, (2, 3))[0])
    for name, wanted in (("own", own), ("none", NONE), ("cifar10", CONSTANTS["cifar10"])):
        spec = network_spec(replace(SCRATCH, normalise=name), None, tiny_base)
        assert (spec.mean, spec.std) == wanted
    assert network_spec(WHOLE, extractor.network, tiny_base).mean == extractor.network.spec.mean


def test_the_target_is_asked_for_in_the_mirror(tiny_base: Base, makers: Any) -> None:
    trial = makers.trial(count=12)
    asked = makers.job(trial)
    mirrored = replace(asked, images=asked.images[:, :, ::-1].copy())
    victims = WholeNetworkTrainer(replace(SCRATCH, flip_target=True, epochs=2), None, tiny_base, CPU)
    plain = WholeNetworkTrainer(replace(SCRATCH, epochs=2), None, tiny_base, CPU)
    seen: list[np.ndarray] = []
    victims._positions, found = lambda images, where: seen.append(images) or found(images, where), victims._positions
    assert makers.predictions(victims, asked)[0] == makers.predictions(plain, mirrored)[0]
    assert sum(np.array_equal(images, mirrored.images) for images in seen) == 2


def test_victims_of_a_seed_share_controls_and_other_seeds_draw_anew(
    tiny_base: Base, makers: Any, monkeypatch: Any
) -> None:
    count = _Kill(monkeypatch, after=-1)
    trials = [makers.trial(0), makers.trial(1)]
    victims = WholeNetworkTrainer(replace(SCRATCH, epochs=1), None, tiny_base, CPU)
    answers = makers.predictions(victims, *(makers.job(trial, seed) for trial in trials for seed in (0, 1)))
    assert count.epochs == 4 + 2
    assert len({one.control_rows for one in answers}) == 1
    weights = [dict(one.values) for one in victims._controls.values()]
    assert not torch.equal(weights[0]["head.weight"], weights[1]["head.weight"])


def test_a_victim_that_diverges_has_no_predictions_and_stops_no_other(tiny_base: Base, makers: Any) -> None:
    hot = WholeNetworkTrainer(replace(SCRATCH, learning_rate="99999"), None, tiny_base, CPU)
    found = hot.predictions([makers.job(makers.trial(0)), makers.job(makers.trial(1))])
    assert [type(one) for one in found] == [ViolationError] * 2
    assert "trial 1" in str(found[1])
    assert "victim seed 0: the victim" in str(found[1])


@pytest.mark.parametrize("training", ["frozen", "scratch"])
@pytest.mark.parametrize("rule", ["in-place", "add", "by-count", "supplant"])
def test_victim_and_control_keep_the_same_images(tiny_base: Base, makers: Any, training: Any, rule: str) -> None:
    labels, classes = tiny_base.train.labels, tiny_base.victim_classes
    compositions = {"add": Add(), "supplant": Supplant(removed=tuple(np.flatnonzero(labels == 3)[-6:].tolist()))}
    record = makers.trial(composition=compositions.get(rule)).record
    protocol = replace(SCRATCH if training == "scratch" else FROZEN, keep="0.3")
    if rule in compositions:
        protocol = replace(protocol, composition="trial")
    elif rule == "by-count":
        protocol = replace(protocol, composition="by-count", size=30)
    whole = compose(labels, record, protocol.rule(record), classes)
    rows, control = training_rows(protocol, record, tiny_base, 0)
    assert control is not None
    clean, poisons = (whole.slot < 0).sum(), (whole.slot >= 0).sum()
    assert ((rows.slot < 0).sum(), (rows.slot >= 0).sum()) == (-(-clean * 3 // 10), poisons)
    assert len(control) == len(rows)
    assert set(rows.base[rows.slot < 0]) <= set(control.base)
    everything = replace(protocol, keep="1")
    all_rows, all_control = training_rows(everything, record, tiny_base, 0)
    assert len(all_rows) == len(whole)
    assert sorted(all_control.base) == sorted(clean_control(labels, whole, protocol.rule(record), classes).base)
    other, _ = training_rows(protocol, record, tiny_base, 1)
    assert set(other.base) != set(rows.base)
    if training == "frozen":
        assert all_rows.digest() == whole.digest()


def test_controls_with_the_same_images_are_one_whatever_the_trial(tiny_base: Base, makers: Any) -> None:
    labels, classes = tiny_base.train.labels, tiny_base.victim_classes
    protocol = replace(SCRATCH, composition="by-count", size=40)
    controls = [training_rows(protocol, makers.trial(i).record, tiny_base, 0)[1] for i in (0, 1)]
    assert controls[0].digest() == controls[1].digest()
    rows, control = training_rows(protocol, makers.trial(0).record, tiny_base, 0)
    assert np.array_equal(rows.base, control.base)
    rule = ByCount(40)
    unsorted = [
        clean_control(labels, compose(labels, makers.trial(i).record, rule, classes), rule, classes) for i in (0, 1)
    ]
    assert unsorted[0].digest() != unsorted[1].digest()


def test_what_cannot_be_trained_is_refused_before(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    opened = makers.set_of(makers.trial())
    with pytest.raises(MissingError, match="16x16 pixels"):
        preflight(opened, tiny_base, [parse("tinyimagenet-scratch/vgg16@composition=in-place,width=0.02")], None)
    with pytest.raises(UsageError, match="flip_target=false"):
        preflight(opened, replace(tiny_base, mirror=False), [replace(SCRATCH, flip_target=True)], None)
    # Four halvings leave one pixel of 16 in the last maps of a MobileNetV2: batch normalisation needs two values.
    lonely = parse("cifar10-scratch/mobilenetv2@composition=in-place,width=0.02,batch=39")
    splits = {name: tiny_base.split(name) for name in ("train", "test")}
    small = {name: replace(split, images=split.images[:, ::8, ::8].copy()) for name, split in splits.items()}
    shrunk = replace(tiny_base, **small)
    with pytest.raises(UsageError, match="leave a step of one image"):
        preflight(type(makers)(shrunk).set_of(makers.trial()), shrunk, [lonely], None)
    with pytest.raises(MissingError, match="normalises its images"):
        matched([replace(WHOLE, normalise="none")], [extractor], tiny_base)
    with pytest.raises(MissingError, match=r"head is for classes \[0, 1\]"):
        matched([replace(WHOLE, head="kept")], [extractor], tiny_base)
    with pytest.raises(UsageError, match="no protocol uses"):
        matched([SCRATCH], [extractor], tiny_base)
    with pytest.raises(MissingError, match="needs an extractor"):
        matched([SCRATCH, WHOLE], [], tiny_base)
    assert matched([SCRATCH], [], tiny_base) == ((SCRATCH, None),)
    assert matched([WHOLE, SCRATCH], [extractor], tiny_base) == ((WHOLE, extractor), (SCRATCH, None))


def test_an_extractor_without_normalisation_fits_a_protocol_without(
    tiny_base: Base, extractor: Weights, tmp_path: Path
) -> None:
    network = build("convnet", 2, "0.25", *NONE)
    save_weights(tmp_path / "raw.safetensors", network, {"classes": [2, 3]}, {"side": [16, 16]})
    raw = load_weights(tmp_path / "raw.safetensors")
    protocol = replace(WHOLE, normalise="none", head="kept")
    assert matched([protocol], [raw], tiny_base) == ((protocol, raw),)
