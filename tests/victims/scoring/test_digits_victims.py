"""The embedded base from its default extractor to a clean victim, with the figures the pretraining promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import suite
from poisonsets.victims.trainers.linear_probe.trainer import FrozenVictims
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


def test_a_clean_victim_learns_digits_the_extractor_never_saw(digits: Base, features: Weights) -> None:
    (protocol,) = suite("digits-transfer")
    victims = FrozenVictims(protocol, features.network, digits, CPU)
    rows = np.sort(np.concatenate([np.flatnonzero(digits.train.labels == c)[:100] for c in digits.victim_classes]))
    clean = TrainingRows(rows, np.full(500, -1, dtype=np.int64), digits.train.labels[rows])
    victim = victims.control(clean, 0)
    assert victim.correct >= 0.7 * 300
    # A second victim of the same rows is the first one, another seed is another head.
    assert victims.control(clean, 0) is victim
    # 40 draws meet 81 (1 - (80/81)^40) = 31.7 different views of an image; later victims meet fewer new ones.
    first = victims.clean.forwards
    assert first < 0.81 * 40 * 500
    assert victims.control(clean, 1) is not victim
    assert victims.clean.forwards - first < 0.5 * 40 * 500
