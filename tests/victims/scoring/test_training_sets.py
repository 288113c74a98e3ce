"""A whole training set is trained on as it stands, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_set_shards import write_shards

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.training_sets.open import open_training_set
from poisonsets.manifests.training_sets.targets_file import source_targets
from poisonsets.manifests.training_sets.training_set import OpenTrainingSet
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.score import score_set

SETTINGS = "epochs=1,lr_milestones=none,batch=16,width=0.25,pad=1"


@pytest.fixture
def whole(tmp_path: Path, tiny_base: Base) -> OpenTrainingSet:
    """The base with three of its images changed and one of the victims' classes lost."""
    images, labels = tiny_base.train.images.copy(), tiny_base.train.labels
    known = np.flatnonzero(np.isin(labels, tiny_base.victim_classes))
    images[known[:3]] ^= 8
    kept = np.delete(np.arange(len(labels)), known[3])
    folder = write_shards(tmp_path / "shards", images[kept], labels[kept])
    return open_training_set(folder, tiny_base, source_targets((2,), 3))


@pytest.mark.parametrize("composition", ["composition=in-place", "size=30"])
def test_no_protocol_may_compose_it_anew(
    whole: OpenTrainingSet, tiny_base: Base, extractor: Weights, tmp_path: Path, composition: str
) -> None:
    protocol = parse(f"digits-transfer/convnet@{composition},{SETTINGS}")
    with pytest.raises(UsageError, match="is a whole one"):
        score_set(
            whole,
            tiny_base,
            protocols=[protocol],
            extractors=[extractor],
            results=tmp_path / "rows",
            device=torch.device("cpu"),
        )
    assert not (tmp_path / "rows").exists()


def test_its_victims_have_its_images_and_its_control_those_of_the_base(
    whole: OpenTrainingSet, tiny_base: Base, extractor: Weights
) -> None:
    clean = parse(f"digits-transfer/convnet@composition=trial,{SETTINGS}")
    (row,) = score_set(whole, tiny_base, protocols=[clean], extractors=[extractor], device=torch.device("cpu")).rows
    assert (row.poisons, row.training_images, row.threat_level) == (3, 39, "unknown")
    assert row.content_digest == whole.manifest.content_digest
    assert row.control is not None
    assert row.source_images == (tiny_base.test.labels == 2).sum()
