"""The embedded base from its default extractor to a clean victim, with the figures the pretraining promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import suite
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.training.pretrain import cached_weights
from poisonsets.victims.training.pretraining import default_pretraining

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def features(extractor_of_digits: Weights) -> Weights:
    return extractor_of_digits


def test_the_default_extractor_knows_its_own_digits(features: Weights) -> None:
    provenance = features.record["provenance"]
    assert features.record["classes"] == [0, 1, 2, 3, 4]
    assert provenance["images"] == 300
    assert provenance["correct"] >= 0.97 * provenance["images"]


def test_the_default_classifier_tells_the_victims_digits_apart(digits: Base, cache: Path) -> None:
    pretraining = default_pretraining(digits, "classifier")
    assert pretraining is not None
    classifier = cached_weights(pretraining, digits, cache, device=CPU)
    assert classifier.record["classes"] == [5, 6, 7, 8, 9]
    assert classifier.record["provenance"]["correct"] >= 0.97 * 300


def test_a_clean_victim_learns_digits_the_extractor_never_saw(
    digits: Base, features: Weights, makers_of_digits: Any
) -> None:
    (protocol,) = suite("digits-transfer")
    trainer, trial = LinearProbeTrainer(protocol, features.network, digits, CPU), makers_of_digits.trial(count=1)
    (first,) = makers_of_digits.predictions(trainer, makers_of_digits.job(trial))
    assert first.training_images == 500
    assert first.control.correct >= 0.7 * 300
    # A second control of the same rows is the first one, another seed is another head.
    before, (control,) = trainer.clean.forwards, trainer._controls.values()
    makers_of_digits.predictions(trainer, makers_of_digits.job(trial))
    assert list(trainer._controls.values()) == [control]
    assert trainer.clean.forwards == before
    # 40 draws meet 81 (1 - (80/81)^40) = 31.7 different views of an image; later victims meet fewer new ones.
    assert before < 0.81 * 40 * 500
    makers_of_digits.predictions(trainer, makers_of_digits.job(trial, seed=1))
    assert len(trainer._controls) == 2
    assert trainer.clean.forwards - before < 0.5 * 40 * 500
