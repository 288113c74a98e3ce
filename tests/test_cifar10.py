"""The whole loop on CIFAR-10: a published trial is crafted, verified and scored through the command line.

The extractor is a ResNet-18 of 16 channels trained for one epoch on 640 images, and the victim for two epochs
instead of 40: this tests that the parts fit on real images and published setups, not how well the attack works.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poisonsets.cli.main import run
from poisonsets.manifests.bases.cache import open_base
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.records.origin import FileSetup
from poisonsets.manifests.records.trial import SplitTarget
from poisonsets.manifests.sets.reader import PoisonSet, open_set
from poisonsets.victims.networks.weights import save_weights
from poisonsets.victims.training.pretrain import provenance, train_network
from poisonsets.victims.training.pretraining import Pretraining

pytestmark = pytest.mark.slow

PROTOCOL = "cifar10-transfer/resnet18@epochs=2,lr_milestones=none,width=0.25"
SETUP = "cifar10_transfer_learning.pickle"
IMAGES = 640
# The benchmark's file, and its trial 0 as the standard unpickler reads it.
SETUP_DIGEST = "2510d189785725e36aef0f36ad020cebcecebe18af2f7450a72d6f773a662485"
TARGET = SplitTarget(split="test", index=9139, label=4)
BASE_CLASS = 7
BASES = (
    30330, 7829, 47673, 14780, 41050, 37670, 20223, 41973, 21599, 33265, 40426, 25213, 10643,
    23609, 19553, 41843, 44560, 18517, 17023, 14400, 40330, 26767, 42366, 34367, 44798,
)  # fmt: skip


def command(*arguments: str | Path) -> Any:
    """The document that a command prints; it has to succeed without a word on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*map(str, arguments), "--json"])
    assert (code, err.getvalue()) == (0, "")
    return json.loads(out.getvalue())


@dataclass(frozen=True)
class Loop:
    """What the three commands left.

    Attributes:
        base: CIFAR-10 as it was added.
        opened: the poison set.
        extractor: the digest of the network that is surrogate and extractor.
        verified, scored: the documents of `verify` and `score`.
    """

    base: Base
    opened: PoisonSet
    extractor: str
    verified: Any
    scored: Any


@pytest.fixture(scope="module")
def loop(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("cifar10")
    pack, setup = folder / "cifar10", real_data / "setups" / SETUP
    if not (real_data / "cifar10.npz").exists() or not setup.exists():
        pytest.skip(f"{real_data} has no CIFAR-10 or no {SETUP}")
    subprocess.run([sys.executable, str(real_data / "unpack.py"), "cifar10", str(pack), "--format", "hdf5"], check=True)
    name, weights, target = f"hdf5:{pack / 'cifar10.h5'}", folder / "extractor.safetensors", folder / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(folder / "cache"))
        command("base", "add", name)
        base = open_base(name, cache=folder / "cache")
        digest = extractor(base, weights)
        craft = ("craft", "bullseye-polytope", "--base", name, "--setup", setup, "--trials", "0", "--epsilon", "8")
        command(*craft, "--set", "steps=10", "--surrogate", weights, "--device", "cpu", "-o", target)
        verified = command("verify", target)
        score = ("score", target, "--protocol", PROTOCOL, "--extractor", weights, "--device", "cpu")
        scored = command(*score, "-q", "-o", folder / "results")
        yield Loop(base, open_set(target), digest, verified, scored)


def extractor(base: Base, path: Path) -> str:
    """Train the network on a small part of the base; `train` would take the whole of it."""
    part = Split(base.train.images[:IMAGES], base.train.labels[:IMAGES])
    few = Split(base.test.images[:64], base.test.labels[:64])
    small = Base("cifar10-part", base.classes, part, few, base.victim_classes, base.pretrain_classes, mirror=True)
    pretraining = Pretraining("resnet18", tuple(range(10)), epochs=1, width="0.25", flip=True)
    trained = train_network(pretraining, small, device=torch.device("cpu"))
    return save_weights(path, trained.network, pretraining.record(), provenance(small, trained))


def test_the_poisons_are_those_of_the_published_trial(loop: Loop) -> None:
    manifest = loop.opened.manifest
    assert manifest.setup == FileSetup(name=SETUP, digest=SETUP_DIGEST)
    (trial,) = manifest.trials
    assert trial.slots.bases == BASES
    assert trial.targets == (TARGET,)
    assert trial.adversarial_label == BASE_CLASS
    assert set(trial.slots.labels) == set(loop.base.train.labels[list(BASES)].tolist()) == {BASE_CLASS}
    assert loop.base.test.labels[TARGET.index] == TARGET.label


def test_the_poisons_move_within_the_budget_and_the_objective_falls(loop: Loop) -> None:
    (trial,) = loop.opened.trials
    poisons, labels = trial.poisons()
    bases = loop.base.train.images[list(trial.record.slots.bases)]
    distance = np.abs(poisons.astype(np.int64) - bases).max(axis=(1, 2, 3))
    assert (distance.min(), distance.max()) == (8, 8)
    assert poisons.shape == (25, 32, 32, 3)
    assert set(labels.tolist()) == {trial.record.adversarial_label}
    assert trial.record.outcome is not None
    objective = [float(value) for value in trial.record.outcome.objective]
    assert objective[-1] < 0.9 * objective[0]


def test_the_set_verifies(loop: Loop) -> None:
    assert loop.verified["findings"] == []
    assert loop.verified["content_digest"] == loop.opened.manifest.content_digest
    assert loop.verified["checked"]["poisons"] == 25


def test_the_row_says_what_was_scored(loop: Loop) -> None:
    (row,) = loop.scored["rows"]
    (trial,) = loop.opened.manifest.trials
    assert (row["protocol"], row["extractor"], row["trial"]) == (PROTOCOL, loop.extractor, 0)
    assert [one.digest for one in loop.opened.manifest.surrogates] == [loop.extractor]
    assert row["threat_level"] == "white-box"
    assert row["training_images"] == 2500
    assert row["clean_images"] == 10_000
    assert row["control"] in (True, False)
    (verdict,) = row["targets"]
    assert row["success"] == (verdict["predicted_poisoned"] == trial.adversarial_label)
    assert verdict["label"] == trial.targets[0].label
    assert row["clean_correct"] > 1000, "no better than chance"
    (summary,) = loop.scored["summaries"]
    assert (summary["poisoned"]["n"], summary["control"]["n"]) == (1, 1)
