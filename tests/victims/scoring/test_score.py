from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.manifests.records.trial import Add
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.statistics import wilson
from poisonsets.victims.scoring.score import Score, score_set
from poisonsets.victims.trainers.linear_probe.heads import train_heads

CPU = torch.device("cpu")
PROTOCOL = parse(
    "digits-transfer/convnet@composition=in-place,epochs=15,lr_milestones=12,learning_rate=0.3,batch=8,width=0.25,pad=1"
)

OWN = replace(PROTOCOL, composition="trial")


def score(opened: Any, base: Base, extractor: Weights, **options: Any) -> Score:
    settings = {"protocols": [PROTOCOL], "extractors": [extractor], "device": CPU} | options
    return score_set(opened, base, **settings)


def timeless(row: Row) -> dict[str, Any]:
    return row.model_dump(exclude={"seconds", "peak_memory_bytes"})


def test_poisons_that_are_the_target_succeed_and_the_control_does_not(
    tiny_base: Base, makers: Any, extractor: Weights
) -> None:
    opened = makers.set_of(*(makers.trial(i, count=30, composition=Add()) for i in range(3)))
    result = score(opened, tiny_base, extractor, protocols=[OWN])
    (summary,) = result.summaries
    assert [row.success for row in result.rows] == [True] * 3
    assert [row.control for row in result.rows] == [False] * 3
    assert (summary.poisoned.successes, summary.poisoned.n) == (3, 3)
    assert summary.control is not None
    assert (summary.control.successes, summary.control.n) == (0, 3)
    assert summary.mcnemar_p == pytest.approx(2 * 0.5**3)
    assert summary.control_clean == (60, 60)
    for row in result.rows:
        (target,) = row.targets
        assert (target.label, target.adversarial_label) == (2, 3)
        assert (target.predicted_poisoned, target.predicted_control) == (3, 2)
        assert row.training_images == 70


def test_poisons_that_are_their_bases_change_nothing_at_all(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    opened = makers.set_of(*(makers.trial(i, poisons="clean") for i in range(2)))
    for row in score(opened, tiny_base, extractor, victim_seeds=(0, 1)).rows:
        assert row.clean_correct == row.control_correct
        assert row.success == row.control
        assert row.targets[0].predicted_poisoned == row.targets[0].predicted_control


def test_poisoned_victim_and_control_draw_alike(
    tiny_base: Base, makers: Any, extractor: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[torch.Tensor] = []

    def spy(*arguments: Any, **options: Any) -> list[torch.nn.Linear]:
        trained = train_heads(*arguments, **options)
        heads.extend(head.weight.detach() for head in trained)
        return trained

    monkeypatch.setattr("poisonsets.victims.trainers.linear_probe.trainer.train_heads", spy)
    # Two trials that would poison other bases, but leave all as they are: one control serves both.
    opened = makers.set_of(*(makers.trial(i, poisons="clean") for i in range(2)))
    score(opened, tiny_base, extractor, victim_seeds=(0, 1))
    assert len(heads) == 4 + 2
    by_seed = [heads[0:4:2] + heads[4:5], heads[1:4:2] + heads[5:6]]
    for same in by_seed:
        for head in same[1:]:
            torch.testing.assert_close(head, same[0], rtol=1e-4, atol=1e-5)
    assert (heads[0] - heads[1]).abs().max() > 0.01


def test_a_backdoor_is_scored_on_all_test_images_of_its_source_classes(
    tiny_base: Base, makers: Any, extractor: Weights
) -> None:
    """The poisons are copies of test images of class 2, labelled 3: most of that class follows, no control does."""
    plain = makers.trial(count=30, composition=Add())
    record = plain.record.model_copy(update={"source_classes": (2,)})
    opened = makers.set_of(replace(plain, record=record))
    (row,) = score(opened, tiny_base, extractor, protocols=[OWN]).rows
    (without,) = score(makers.set_of(plain), tiny_base, extractor, protocols=[OWN]).rows
    assert row.source_images == int((tiny_base.test.labels == 2).sum()) == 10
    assert without.source_images == without.source_poisoned == 0
    assert row.source_poisoned > (row.source_control or 0)
    assert (row.targets, row.success) == (without.targets, without.success)


def test_unknown_bases_have_no_control(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    opened = makers.set_of(makers.trial(unknown_bases=True))
    result = score(opened, tiny_base, extractor)
    (row,), (summary,) = result.rows, result.summaries
    assert row.control is row.control_correct is row.targets[0].predicted_control is None
    assert summary.control is summary.mcnemar_p is summary.control_clean is None
    assert summary.record()["control"] is None
    assert row.training_images == 46


def test_the_same_jobs_give_the_same_rows_in_any_company(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    trials = [makers.trial(i) for i in range(3)]
    together = score(makers.set_of(*trials), tiny_base, extractor, victim_seeds=(0, 1))
    alone = score(makers.set_of(*trials), tiny_base, extractor, victim_seeds=(1,), trials=[2])
    assert timeless(alone.rows[0]) == timeless(together.rows[-1])


def test_several_victim_seeds_are_counted_by_trial(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    opened = makers.set_of(*(makers.trial(i, count=30, composition=Add()) for i in range(2)))
    (summary,) = score(opened, tiny_base, extractor, protocols=[OWN], victim_seeds=(0, 1, 2)).summaries
    assert (summary.trials, summary.victim_seeds, summary.poisoned.n) == (2, 3, 6)
    assert summary.mcnemar_p is None
    # Every trial has the mean 1, so a bootstrap over trials would have no width.
    assert summary.poisoned.interval == pytest.approx(wilson(2, 2))
    assert summary.poisoned.interval_method == "wilson over trials"


class TestResults:
    def opened(self, makers: Any, count: int = 3) -> Any:
        return makers.set_of(*(makers.trial(i) for i in range(count)))

    def test_rows_are_stored_and_read_back(
        self, tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path
    ) -> None:
        result = score(self.opened(makers), tiny_base, extractor, results=tmp_path / "r")
        settings = json.loads((tmp_path / "r" / "settings.json").read_bytes())
        stored = {path.stem: json.loads(path.read_bytes()) for path in (tmp_path / "r" / "rows").iterdir()}
        assert {key: value | {"checksum": ""} for key, value in stored.items()} == {
            row.job: row.model_dump(mode="json") | {"checksum": ""} for row in result.rows
        }
        assert settings["content_digest"] == "c" * 64
        assert settings["extractors"] == [extractor.digest]

    def test_resume_trains_only_what_is_missing(
        self, tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path
    ) -> None:
        whole = score(self.opened(makers), tiny_base, extractor)
        part = score(self.opened(makers), tiny_base, extractor, results=tmp_path / "r", trials=[1])
        calls: list[tuple[float, int]] = []
        result = score(
            self.opened(makers),
            tiny_base,
            extractor,
            results=tmp_path / "r",
            resume=True,
            progress=lambda *jobs: calls.append(jobs),
        )
        # Seconds were measured, so an equal row is the stored one.
        assert result.rows[1] == part.rows[0]
        assert [timeless(row) for row in result.rows] == [timeless(row) for row in whole.rows]
        assert (calls[0], calls[-1]) == ((1, 3), (3, 3))
        assert calls == sorted(calls)
        assert any(1 < done < 3 for done, _ in calls)

    def test_a_folder_that_holds_something_needs_resume(
        self, tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path
    ) -> None:
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "notes.txt").write_text("mine")
        for resume in (False, True):
            with pytest.raises(MissingError):
                score(self.opened(makers, 1), tiny_base, extractor, results=tmp_path / "r", resume=resume)
        assert [p.name for p in (tmp_path / "r").iterdir()] == ["notes.txt"]

    def test_a_folder_of_other_settings_is_refused(
        self, tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path
    ) -> None:
        score(self.opened(makers, 1), tiny_base, extractor, results=tmp_path / "r")
        other = makers.set_of(makers.trial(), content="d" * 64)
        with pytest.raises(MissingError, match="content_digest"):
            score(other, tiny_base, extractor, results=tmp_path / "r", resume=True)
        protocol = replace(PROTOCOL, epochs=1, lr_milestones=())
        with pytest.raises(MissingError, match="protocols"):
            score(
                self.opened(makers, 1),
                tiny_base,
                extractor,
                protocols=[protocol],
                results=tmp_path / "r",
                resume=True,
            )

    def test_a_damaged_row_is_named(self, tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path) -> None:
        score(self.opened(makers, 2), tiny_base, extractor, results=tmp_path / "r")
        first, second = sorted((tmp_path / "r" / "rows").iterdir())
        good = first.read_bytes()
        swapped = second.read_bytes()
        for bad in (b"", good[:-1], good.replace(b'"success"', b'"succes"'), good[:40] + b"\0" + good[41:], swapped):
            first.write_bytes(bad)
            with pytest.raises(DamagedError, match=first.name):
                score(self.opened(makers, 2), tiny_base, extractor, results=tmp_path / "r", resume=True)


class TestThreatLevel:
    def level(self, base: Base, makers: Any, extractor: Weights, *surrogates: SurrogateRecord) -> str:
        opened = makers.set_of(makers.trial(), surrogates=surrogates)
        protocol = replace(PROTOCOL, epochs=1, lr_milestones=())
        return score(opened, base, extractor, protocols=[protocol]).rows[0].threat_level

    def surrogate(self, digest: str = "a" * 64, **changes: Any) -> SurrogateRecord:
        return SurrogateRecord(digest=digest, network="convnet", pretraining={"width": "0.25"}).model_copy(
            update=changes
        )

    def test_it_follows_from_digest_network_and_width(self, tiny_base: Base, makers: Any, extractor: Weights) -> None:
        same, other = self.surrogate(extractor.digest), self.surrogate()
        wide = self.surrogate(pretraining={"width": "1"})
        deep = self.surrogate(network="resnet18")
        for surrogates, wanted in (
            ([], "black-box"),
            ([wide, deep], "black-box"),
            ([deep, other], "grey-box"),
            ([other, same], "white-box"),
            ([self.surrogate(extractor.digest, trials=(7,))], "black-box"),
            ([self.surrogate(extractor.digest, trials=(0,))], "white-box"),
        ):
            assert self.level(tiny_base, makers, extractor, *surrogates) == wanted


class TestRefusals:
    """Everything here is refused before a victim is trained: the poisons are never asked for."""

    def refuse(self, error: type[Exception], says: str, opened: Any, base: Base, **options: Any) -> None:
        def never(*_: Any) -> None:
            raise AssertionError("the poisons were read")

        for trial in opened.trials:
            object.__setattr__(trial, "poisons", never)
        with pytest.raises(error, match=says):
            score(opened, base, **options)

    def test_another_base(self, tiny_base: Base, makers: Any, extractor: Weights) -> None:
        opened = makers.set_of(makers.trial())
        images = tiny_base.train.images.copy()
        images[0, 0, 0, 0] ^= 1
        changed = replace(tiny_base, train=Split(images, tiny_base.train.labels))
        self.refuse(MissingError, "train split", opened, changed, extractor=extractor)
        self.refuse(UsageError, "classes", opened, replace(tiny_base, victim_classes=(1, 2, 3)), extractor=extractor)

    def test_extractors_that_do_not_fit(self, tiny_base: Base, makers: Any, extractor: Weights) -> None:
        opened = makers.set_of(makers.trial())
        wide = replace(PROTOCOL, width="1")
        self.refuse(
            MissingError,
            "needs an extractor convnet, given: convnet@width=",
            opened,
            tiny_base,
            extractor=extractor,
            protocols=[wide],
        )
        both = [PROTOCOL, parse("cifar10-transfer/resnet18@composition=in-place")]
        self.refuse(MissingError, "needs an extractor resnet18", opened, tiny_base, extractor=extractor, protocols=both)
        record = extractor.record | {"provenance": {"side": [32, 32]}}
        self.refuse(MissingError, "32", opened, tiny_base, extractor=replace(extractor, record=record))

    def test_an_extractor_without_an_input_of_its_protocol(
        self, tiny_base: Base, makers: Any, extractor: Weights
    ) -> None:
        opened = makers.set_of(makers.trial())
        other = extractor.at_input(16)
        self.refuse(MissingError, "Add `input=16` to the protocol", opened, tiny_base, extractor=other)

    def test_trials_that_are_not_there(self, tiny_base: Base, makers: Any, extractor: Weights) -> None:
        opened = makers.set_of(makers.trial())
        self.refuse(UsageError, "trial 3", opened, tiny_base, extractor=extractor, trials=[0, 3])

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"targets": (), "source_classes": (2,)}, "no target"),
            ({"adversarial_label": 1}, "label 1"),
            ({"index": 10_000}, "test/10000"),
            ({"label": 3}, "class 3"),
        ],
        ids=str,
    )
    def test_records_that_make_no_sense(
        self, tiny_base: Base, makers: Any, extractor: Weights, change: dict[str, Any], says: str
    ) -> None:
        trial = makers.trial()
        if {"index", "label"} & set(change):
            change = {"targets": (trial.record.targets[0].model_copy(update=change),)}
        opened = makers.set_of(replace(trial, record=trial.record.model_copy(update=change)))
        self.refuse(UsageError, says, opened, tiny_base, extractor=extractor)


def test_poisons_other_than_the_record_says_are_damage(tiny_base: Base, makers: Any, extractor: Weights) -> None:
    trial = makers.trial()
    for images in (trial.images[:-1], trial.images[:, :-1], trial.images.astype(np.float32)):
        with pytest.raises(DamagedError, match="trial 0: poisons"):
            score(makers.set_of(replace(trial, images=images)), tiny_base, extractor)
