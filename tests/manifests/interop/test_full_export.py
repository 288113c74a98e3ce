"""The whole training set as shards: what webdataset's own reader finds is what a victim would train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forge import noise_request

from poisonsets.crafting.driver import craft_set
from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.exporting.export_set import ROWS, ExportResult, export_set
from poisonsets.manifests.overlay.compose import ByCount
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.training_sets.open import open_training_set
from poisonsets.manifests.training_sets.targets_file import read_targets

WEBDATASET = formats.formats()["webdataset"]


def full(native: Path, base: Base, folder: Path, size: int | None = None) -> ExportResult:
    return export_set(
        folder,
        open_set(native),
        base,
        WEBDATASET,
        rule=lambda trial: trial.composition if size is None else ByCount(size),
        ruled_by="by a test",
    )


# webdataset leaves its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("size", [None, 18])
def test_any_trainer_reads_what_the_rule_composes(tmp_path: Path, base: Base, native: Path, size: int | None) -> None:
    import webdataset

    done = full(native, base, tmp_path / "full", size)
    assert done.dropped[0] == ROWS
    for trial in open_set(native).trials:
        wanted = trial.training_set(base, None if size is None else ByCount(size))
        data = webdataset.WebDataset(
            str(tmp_path / "full" / str(trial.number) / "train-000000.tar"), shardshuffle=False
        )
        found = list(data.decode("rgb8", pre=[], post=[]).to_tuple("__key__", "png", "cls"))
        assert [key for key, _, _ in found] == [f"{row:08d}" for row in range(len(wanted.labels))]
        assert np.array_equal([image for _, image, _ in found], wanted.images)
        assert [int(label) for _, _, label in found] == wanted.labels.tolist()


def test_it_is_a_base_of_its_own_and_says_what_to_ask(tmp_path: Path, base: Base, native: Path) -> None:
    full(native, base, tmp_path / "full")
    read = build(parse_spec(f"webdataset:{tmp_path / 'full' / '1'}", holdout="1/4"))
    assert read.classes == base.classes
    assert len(read.train.labels) + len(read.test.labels) == len(base.train.labels)
    record = open_set(native).trial(1).record
    (asked,) = read_targets(tmp_path / "full" / "1" / "targets.json").record.targets
    assert (asked.index, asked.label) == (record.targets[0].index, record.targets[0].label)
    assert asked.adversarial_label == record.adversarial_label


def test_it_is_scored_as_a_strangers_whole_set(tmp_path: Path, base: Base, native: Path) -> None:
    full(native, base, tmp_path / "full")
    folder = tmp_path / "full" / "0"
    found = open_training_set(folder, base, read_targets(folder / "targets.json")).contents
    assert (found.images, found.own, found.others, found.missing) == (36, 32, 4, 4)


def test_more_than_a_thousand_rows_take_several_shards(tmp_path: Path) -> None:
    from forge import small_base

    base = small_base(each=400, side=2)
    craft_set(tmp_path / "set", noise_request(base, trials=1))
    full(tmp_path / "set", base, tmp_path / "full")
    shards = sorted(one.name for one in (tmp_path / "full" / "0").glob("*.tar"))
    assert shards == ["train-000000.tar", "train-000001.tar"]
    read = build(parse_spec(f"webdataset:{tmp_path / 'full' / '0'}", holdout="1/4"))
    assert len(read.train.labels) + len(read.test.labels) == 1200


def test_rules_that_cannot_be_met_and_formats_that_have_none(tmp_path: Path, base: Base, native: Path) -> None:
    with pytest.raises(UsageError, match="trial 0: a training set of 19 images"):
        full(native, base, tmp_path / "full", 19)
    with pytest.raises(UsageError, match="--full is written as webdataset"):
        export_set(tmp_path / "full", open_set(native), base, formats.formats()["triple"], rule=lambda t: t.composition)
    with pytest.raises(UsageError, match="packed is read, but not written"):
        export_set(tmp_path / "full", open_set(native), base, formats.formats()["packed"])
    assert not list(tmp_path.iterdir())
