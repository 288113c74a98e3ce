"""`score` with whole networks, with backdoors, and in shards: rows from any folder make one table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
SCRATCH = "digits-scratch/convnet@epochs=1,width=0.25"


@pytest.fixture(scope="module")
def backdoor(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Two trials of a patch backdoor on digits."""
    from poisonsets.cli.main import run

    folder = tmp_path_factory.mktemp("sets") / "backdoor"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(cache))
        given = ("--base", "digits", "--trials", "0-1", "--rate", "1/5", "-q", "-o", str(folder))
        assert run(["craft", "patch-backdoor", *given]) == 0
    return folder


def test_victims_from_scratch_need_no_extractor(cli: Cli, backdoor: Path) -> None:
    done = cli("score", backdoor, "--protocol", SCRATCH, "-q")
    assert done.code == 0, done.err
    assert "one, classified as the adversarial label" in " ".join(done.out.split())
    rows = cli("score", backdoor, "--protocol", SCRATCH, "-q", "--json").document()["rows"]
    assert [row["extractor"] for row in rows] == [None, None]
    assert {row["threat_level"] for row in rows} == {"black-box"}
    assert all(row["source_images"] > 100 for row in rows)


def test_shards_make_one_table(cli: Cli, backdoor: Path, here: Path) -> None:
    score = ("score", backdoor, "--protocol", SCRATCH, "-q", "--json")
    whole = cli(*score).document()
    parts = [cli(*score, "--shard", f"{i}/2", "-o", f"part{i}").document()["rows"] for i in (1, 2)]
    assert [len(rows) for rows in parts] == [1, 1]
    for path in (here / "part2" / "rows").iterdir():
        shutil.copy(path, here / "part1" / "rows")
    again = cli(*score, "--resume", "-o", "part1").document()
    for found, wanted in zip(again["rows"], whole["rows"], strict=True):
        timed = {"seconds", "peak_memory_bytes"}
        assert {k: v for k, v in found.items() if k not in timed} == {k: v for k, v in wanted.items() if k not in timed}
    assert not (here / "part1" / "checkpoints").exists()
    assert [one["sources"]["successes"] for one in again["summaries"]] == [
        one["sources"]["successes"] for one in whole["summaries"]
    ]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b"])
def test_a_shard_that_is_no_part_is_refused(cli: Cli, backdoor: Path, shard: str) -> None:
    cli("score", backdoor, "--shard", shard).refused(2, f"--shard {shard}", "1/4")


def test_rows_of_two_precisions_do_not_mix(cli: Cli, backdoor: Path) -> None:
    score = ("score", backdoor, "--protocol", SCRATCH, "-q", "-o", "rows")
    assert cli(*score, "--trials", "0").code == 0
    cli(*score, "--precision", "bf16", "--resume").refused(4, "precision")


@pytest.mark.parametrize("protocol", [SCRATCH, "digits-transfer/convnet@composition=trial,epochs=1"])
def test_rows_name_the_precision(cli: Cli, backdoor: Path, protocol: str) -> None:
    score = ("score", backdoor, "--protocol", protocol, "--trials", "0", "-q", "--json")
    for asked, named in (((), "fp32"), (("--precision", "bf16"), "bf16")):
        assert {row["precision"] for row in cli(*score, *asked).document()["rows"]} == {named}


@pytest.mark.parametrize("protocol", [SCRATCH, "digits-transfer/convnet@composition=trial,epochs=2"])
def test_workers_change_no_row(cli: Cli, backdoor: Path, protocol: str) -> None:
    score = ("score", backdoor, "--protocol", protocol, "--victim-seeds", "0-1", "-q", "--json")
    timed = {"seconds", "peak_memory_bytes"}
    one, two = (
        [{k: v for k, v in row.items() if k not in timed} for row in cli(*score, "--workers", n).document()["rows"]]
        for n in ("1", "2")
    )
    assert one == two
    assert len(one) == 4
