"""What is measured of a victim in training is what plain autograd gives, and measuring leaves no trace in it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_transfer import numbered, train_head
from torch import Tensor, nn

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.manifests.records.trial import Add
from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.trainers.curves import SERIES, Curves
from poisonsets.victims.trainers.linear_probe.draws import Draws, draw
from poisonsets.victims.trainers.linear_probe.heads import head_plan, train_heads
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.trainers.recorder import (
    HeadRecorder,
    NetworkRecorder,
    TargetInputs,
    cosine,
    series,
    target_inputs,
)
from poisonsets.victims.trainers.victim_pair import victim_generator
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer
from poisonsets.victims.training.loop import Schedule, fit

CPU = torch.device("cpu")
SETTINGS = "composition=in-place,batch=16,width=0.25,pad=1"
SCRATCH = parse(f"digits-scratch/convnet@{SETTINGS},epochs=3,lr_milestones=2")
WHOLE = parse(f"digits-transfer/convnet@{SETTINGS},epochs=3,lr_milestones=2,training=end-to-end,learning_rate=0.01")
FROZEN = parse(f"digits-transfer/convnet@{SETTINGS},epochs=6,lr_milestones=4,learning_rate=0.1")
ADAM = replace(FROZEN, optimiser="adam", learning_rate="0.01", epochs=3, lr_milestones=())
HALF = ("0.5", "0.5", "0.5")


def table(curves: Curves) -> np.ndarray[Any, Any]:
    return np.column_stack([*(getattr(curves, name) for name in SERIES), curves.cosine])


def measured(model: nn.Module, inputs: Tensor, adversarial: Tensor, labels: Tensor, batch: list[Tensor]) -> Any:
    """Losses of the targets, and the cosine with a batch's gradient, by autograd on a copy in eval mode."""
    model = copy.deepcopy(model).eval()
    model.zero_grad()
    loss = F.cross_entropy(model(inputs), adversarial)
    loss.backward()
    wanted, given = (torch.cat([g.flatten() for g in gs]) for gs in ([p.grad for p in model.parameters()], batch))
    return float(torch.nn.functional.cosine_similarity(wanted.double(), given.double(), dim=0)), [
        F.cross_entropy(model(inputs), wanted, reduction="none").detach() for wanted in (adversarial, labels)
    ]


def test_a_network_in_training_is_measured_as_by_plain_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(20, 3, 16, 16, generator=generator), torch.arange(20) % 3
    targets, adversarial, true = images[:2] + 0.1, torch.tensor([2, 2]), torch.tensor([0, 1])
    schedule = Schedule(3, 8, "0.05", (), "0.1", "0.9", "0.01", 0, False)
    network = build("convnet", 3, "0.25", HALF, HALF, generator=generator).train()
    plain, optimizer = copy.deepcopy(network), None
    recorder = NetworkRecorder(network, TargetInputs(targets, adversarial, true))
    fit(network, lambda here, _: images[here], labels, schedule, generator=generator.manual_seed(1), recorder=recorder)
    found = recorder.curves()

    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    generator.manual_seed(1)
    for epoch in range(3):
        order, cosines = torch.randperm(20, generator=generator), []
        torch.randint(1, (20,), generator=generator)
        for here in order.split(8):
            optimizer.zero_grad()
            F.cross_entropy(plain(images[here]), labels[here]).backward()
            batch = [value.grad for value in plain.parameters()]
            cosines.append(measured(plain, targets, adversarial, true, batch)[0])
            optimizer.step()
        _, (adversarial_loss, true_loss) = measured(plain, targets, adversarial, true, batch)
        assert found.cosine[epoch] == pytest.approx(np.mean(cosines), abs=1e-5)
        np.testing.assert_allclose(found.adversarial_loss[epoch], adversarial_loss, rtol=1e-4)
        np.testing.assert_allclose(found.true_loss[epoch], true_loss, rtol=1e-4)
    assert found.adversarial_loss.shape == (3, 2)
    np.testing.assert_allclose(found.adversarial_confidence, np.exp(-found.adversarial_loss), rtol=1e-6)
    np.testing.assert_allclose(found.true_confidence, np.exp(-found.true_loss), rtol=1e-6)
    assert all(torch.equal(plain.state_dict()[name], value) for name, value in network.state_dict().items())


def plain_cosines(draws: Draws, features: Tensor, labels: Tensor, shown: TargetInputs, protocol: Protocol) -> Any:
    """The mean cosine of each epoch of a head trained by the published loop."""
    cosines: list[float] = []

    def step(head: nn.Linear) -> None:
        batch = [value.grad for value in head.parameters()]
        cosines.append(measured(head, shown.inputs, shown.adversarial, shown.labels, batch)[0])

    train_head(lambda rows, _: features[rows], labels, draws, protocol, after_step=step)
    return np.reshape(cosines, (protocol.epochs, -1)).mean(1)


def test_heads_in_a_block_are_measured_as_by_plain_autograd() -> None:
    """One head under one and three targets, under both, and one that nobody records."""
    images, width, classes = 30, 17, 4
    protocol = replace(FROZEN, epochs=3, lr_milestones=(), batch=8, pad=0)
    clean = numbered(images, width)
    rows = TrainingRows(np.arange(images), np.full(images, -1), np.arange(images) % classes)
    labels = torch.from_numpy(rows.label)
    draws = [
        draw(protocol, victim_generator(seed, rows), rows=images, features=width, classes=classes) for seed in (0, 1, 2)
    ]
    plans = [head_plan(rows, labels, one, views=1) for one in draws]
    others = torch.randn(4, width, generator=torch.Generator().manual_seed(4))
    one = TargetInputs(others[:1], torch.tensor([2]), torch.tensor([1]))
    three = TargetInputs(others[1:], torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]))
    recorder = HeadRecorder([(0, one), (2, three), (2, one)])
    heads = train_heads(plans, clean, None, protocol, recorder)
    for (plan, shown), found in zip([(0, one), (2, three), (2, one)], recorder.curves(), strict=True):
        wanted = plain_cosines(draws[plan], clean.plain(), labels, shown, protocol)
        np.testing.assert_allclose(found.cosine, wanted, atol=1e-5)
        last = F.cross_entropy(heads[plan](shown.inputs), shown.adversarial, reduction="none")
        np.testing.assert_allclose(found.adversarial_loss[-1], last.detach(), rtol=1e-5)
        assert found.true_loss.shape == (3, len(shown.labels))
    unrecorded = train_heads(plans, clean, None, protocol)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(heads, unrecorded, strict=True))
    assert HeadRecorder([(0, one)]).block([1, 2]) is None


@pytest.mark.parametrize("protocol", [SCRATCH, WHOLE, ADAM, FROZEN], ids=["scratch", "end-to-end", "adam", "heads"])
def test_a_recorded_victim_is_the_same_victim(
    tiny_base: Base, makers: Any, extractor: Weights, protocol: Protocol
) -> None:
    engine: Any = LinearProbeTrainer if protocol.batched else WholeNetworkTrainer
    asked, state = [makers.job(makers.trial(i)) for i in (0, 1)], torch.get_rng_state()
    plain, recorded = (engine(protocol, extractor.network, tiny_base, CPU, curves=curves) for curves in (False, True))
    wanted, found = plain.predictions(asked), recorded.predictions(asked)
    assert torch.equal(state, torch.get_rng_state())
    assert found == wanted  # curves are not compared
    assert [(one.victim.curves, one.control.curves) for one in wanted] == [(None, None)] * 2
    for one, predictions in zip(asked, found, strict=True):
        for victim in (predictions.victim, predictions.control):
            curves, predicted = victim.curves, victim.labels
            assert len(curves.cosine) == protocol.epochs
            # Two classes: the label is what the last confidence says.
            hit = curves.adversarial_confidence[-1] > 0.5
            assert [label == one.trial.adversarial_label for label in predicted] == hit.tolist()
            np.testing.assert_allclose(curves.adversarial_confidence + curves.true_confidence, 1, rtol=1e-5)
    if not protocol.batched:
        values = [one._model.state_dict() for one in (plain, recorded)]
        assert all(torch.equal(values[0][name], values[1][name]) for name in values[0])


def test_both_engines_see_the_same_of_a_head(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    """Without views, which the one draws by row and the other by place."""
    protocol = replace(FROZEN, pad=0)
    asked = [makers.job(makers.trial(i), seed) for i in (0, 1) for seed in (0, 1)]
    whole = makers.predictions(WholeNetworkTrainer(protocol, extractor.network, tiny_base, CPU, curves=True), *asked)
    heads = LinearProbeTrainer(protocol, extractor.network, tiny_base, CPU, features="fp32", curves=True)
    for one, other in zip(whole, makers.predictions(heads, *asked), strict=True):
        for mine, wanted in ((other.victim, one.victim), (other.control, one.control)):
            np.testing.assert_allclose(table(mine.curves), table(wanted.curves), rtol=1e-4, atol=1e-5)


def test_curves_do_not_depend_on_company(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    asked = [makers.job(makers.trial(i), seed) for i in (0, 1, 2) for seed in (0, 1)]
    together = makers.predictions(LinearProbeTrainer(FROZEN, extractor.network, tiny_base, CPU, curves=True), *asked)
    later = LinearProbeTrainer(FROZEN, extractor.network, tiny_base, CPU, curves=True)
    for one, wanted in zip(asked, together, strict=True):  # its control is remembered, and trained again
        (alone,) = makers.predictions(later, one)
        for found, company in ((alone.victim, wanted.victim), (alone.control, wanted.control)):
            assert table(found.curves).tobytes() == table(company.curves).tobytes()


def test_poisons_that_are_the_target_align_and_clean_training_does_not(tiny_base: Base, makers: Any) -> None:
    """The mechanism check of Witches' Brew: the poisoned victim's batches point where the adversarial loss falls."""
    protocol = replace(SCRATCH, composition="trial", epochs=4, lr_milestones=())
    victims = WholeNetworkTrainer(protocol, None, tiny_base, CPU, curves=True)
    (found,) = makers.predictions(victims, makers.job(makers.trial(count=30, composition=Add())))
    poisoned, control = found.victim.curves, found.control.curves
    assert poisoned.cosine.mean() > 0 > control.cosine.mean()
    assert poisoned.adversarial_loss[-1] < control.adversarial_loss[-1]


def test_a_target_of_a_class_nobody_knows_has_no_true_loss(makers: Any) -> None:
    record = makers.trial().record
    strange = record.model_copy(update={"targets": (record.targets[0].model_copy(update={"label": 9}),)})
    shown = target_inputs(strange, torch.zeros(1, 4), (2, 3))
    assert (shown.adversarial.tolist(), shown.labels.tolist()) == ([1], [-1])
    found = series(torch.zeros(1, 2), shown)
    assert torch.isfinite(found[:2]).all()
    assert torch.isnan(found[2:]).all()


def test_vanishing_gradients_have_cosine_zero() -> None:
    line = torch.ones(3, dtype=torch.float64)
    assert cosine(line, 0 * line) == 0
    assert cosine(line, -2 * line) == -1
