"""`score` of a whole training set without a manifest: its very images are trained on, what is unknown is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_set_shards import stamped_digits, write_shards

from poisonsets.manifests.bases.dataset import Base

Cli = Callable[..., Any]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "third-party.md"
FIVES = ("--base", "digits", "--source-class", "5", "--adversarial-label", "8")
SQUARE = ("--trigger", "square,colour=white")
SCRATCH = ("--protocol", "digits-scratch/convnet@epochs=1,width=0.25")
TIMED = {"seconds", "peak_memory_bytes"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, digits: Base) -> Path:
    """60 fives with a white square called 8, 10 noised sixes, 7 nines gone; 1,190 images in three shards."""
    return write_shards(tmp_path_factory.mktemp("other") / "shards", *stamped_digits(digits), parts=3)


def targets(folder: Path, digits: Base, *indices: int, adversarial: int = 8) -> Path:
    file = folder / "targets.json"
    asked = [
        {"split": "test", "index": i, "label": int(digits.test.labels[i]), "adversarial_label": adversarial}
        for i in indices
    ]
    file.write_text(json.dumps({"format": "poisonset-targets/1", "targets": asked}))
    return file


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def test_a_backdoor_is_found_in_shards_that_say_nothing(cli: Cli, shards: Path) -> None:
    done = cli("score", shards, *FIVES, *SQUARE, "--protocol", "digits-scratch/convnet@epochs=6", "--json")
    assert done.code == 0, done.err
    document = done.document()
    (row,) = document["rows"]
    assert row["threat_level"] == "unknown"
    assert row["protocol"] == "digits-scratch/convnet@composition=trial,epochs=6"
    assert (row["poisons"], row["training_images"], row["source_images"]) == (70, 589, 60)
    # The square turns fives into eights for the victim; to the clean control it means little.
    assert row["source_poisoned"] > 30 > 10 > row["source_control"]
    found = document["found"]
    assert (found["images"], found["own"], found["others"], found["missing"]) == (1190, 519, 70, 77)
    assert (found["other_labels"], found["elsewhere"], found["targets_trained_on"]) == ({"6": 10, "8": 60}, 601, [])
    assert any("epsilon" in claim for claim in document["not_checked"])
    assert "1190 images in 3 shards: 519 are the base's own" in done.err
    assert "as it stands: digits-scratch/convnet@composition=trial,epochs=6" in done.err


def test_the_table_says_what_is_unknown(cli: Cli, shards: Path) -> None:
    done = cli("score", shards, *FIVES, *SCRATCH, "-q")
    assert (done.code, done.err) == (0, "")
    said = " ".join(done.out.split())
    for fragment in (
        "attack unknown",
        "unknown",
        "70 of 589",
        "not the base's own",
        "77 of the base's are missing",
        "not checked: which",
    ):
        assert fragment in said, fragment
    assert "the first table counts test/1 alone" in said


def test_single_targets_are_trials_that_resume(cli: Cli, here: Path, shards: Path, digits: Base) -> None:
    wanted = np.flatnonzero(digits.test.labels == 5)[:3].tolist()
    score = ("score", f"{shards}/part-{{000..002}}.tar", "--base", "digits", *SCRATCH, "-q", "--json")
    asked = ("--targets", targets(here, digits, *wanted))
    whole = cli(*score, *asked).document()["rows"]
    assert [(row["trial"], row["targets"][0]["label"]) for row in whole] == [(0, 5), (1, 5), (2, 5)]
    assert cli(*score, *asked, "--trials", "1", "-o", "rows").document()["rows"][0]["trial"] == 1
    again = cli(*score, *asked, "--resume", "-o", "rows").document()["rows"]
    assert untimed(again) == untimed(whole)
    # Other questions are other rows, also where labels agree.
    others = np.flatnonzero(digits.test.labels == 5)[3:6].tolist()
    done = cli(*score, "--targets", targets(here, digits, *others), "--resume", "-o", "rows")
    assert (done.code, "content_digest" in done.document()["error"]) == (4, True)


def test_frozen_extractors_score_them_too(cli: Cli, here: Path, shards: Path, digits: Base) -> None:
    given = (
        "--base",
        "digits",
        "--targets",
        targets(here, digits, 1),
    )
    done = cli("score", shards, *given, "--protocol", "digits-transfer/convnet@epochs=2", "--json", "-q")
    (row,) = done.document()["rows"]
    assert (row["protocol"], row["threat_level"]) == ("digits-transfer/convnet@composition=trial,epochs=2", "unknown")
    assert (row["poisons"], row["training_images"]) == (70, 589)
    assert row["control_rows"] is not None


def test_a_target_that_is_trained_on_is_warned_of_even_quietly(cli: Cli, here: Path, digits: Base) -> None:
    images = np.concatenate([digits.train.images, digits.test.images[:1]])
    folder = write_shards(here / "leak", images, np.append(digits.train.labels, 8))
    file = targets(here, digits, 0)
    score = ("score", folder, "--base", "digits", "--targets", file, *SCRATCH, "-q")
    done = cli(*score)
    assert "WARNING: trial 0: test/0 is among the training images, as class 8" in done.err
    assert "WARNING: trial 0: test/0 is among the training images, as class 8" in done.out
    found = cli(*score, "--json").document()["found"]
    assert found["targets_trained_on"] == [{"trial": 0, "image": "test/0", "label": 8, "stamped": False}]
    assert found["warnings"][0].startswith("trial 0: test/0 is among the training images")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 2, "no manifest.json, so no poison set"),
        (("--targets", "t.json"), 2, "--base"),
        (("--base", "digits", "--targets", "t.json"), 4, "t.json: no such file"),
        (("--base", "digits", "--source-class", "5"), 2, "both are wanted"),
        (("--base", "digits", "--adversarial-label", "5"), 2, "both are wanted"),
        (("--base", "digits", "--trigger", "square"), 2, "both are wanted"),
        ((*FIVES, "--targets", "t.json"), 2, "Leave one out"),
        ((*FIVES[:-1], "5"), 2, "taken for itself"),
        ((*FIVES[:-1], "3"), 2, "label 3"),
        ((*FIVES, "--trigger", "circle"), 2, "circle"),
        ((*FIVES, "--protocol", "digits-scratch/convnet@flip=true"), 2, "mirror"),
        ((*FIVES, "--trials", "4"), 2, "trial 4 is not in the set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_asked_is_refused(
    cli: Cli, here: Path, shards: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    cli("score", shards, *options, "-q", "-o", "rows").refused(code, says)
    assert not list(here.iterdir())


@pytest.mark.parametrize("option", [("--source-class", "5"), ("--adversarial-label", "5"), ("--trigger", "square")])
def test_a_poison_set_says_itself_what_to_ask(cli: Cli, honest: Path, option: tuple[str, str]) -> None:
    cli("score", honest, *option).refused(2, "is a poison set", "Leave out --targets")


def test_a_damaged_shard_is_refused_before_training(cli: Cli, here: Path, shards: Path) -> None:
    (here / "cut.tar").write_bytes((shards / "part-000.tar").read_bytes()[:50_000])
    cli("score", "cut.tar", *FIVES, "-o", "rows").refused(3, "cut.tar")
    cli("score", shards, "--base", "digits@resize=16", *FIVES[2:]).refused(
        2, "32x32 pixels, images of digits have 16x16"
    )
    assert [path.name for path in here.iterdir()] == ["cut.tar"]


def test_the_pages_python_runs(
    here: Path, shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAGE.read_text()
    (here / "targets.json").write_text(re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0])
    (here / "shards").symlink_to(shards)
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102
    assert [row.threat_level for row in names["score"].rows] == ["unknown", "unknown"]
    assert "519 are the base's own" in capsys.readouterr().out
