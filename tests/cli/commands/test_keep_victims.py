"""`score --keep-victims` and what `show` says of what it kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
HEADS = "digits-transfer/convnet@epochs=1,lr_milestones=none,size=100"
SCRATCH = "digits-scratch/convnet@epochs=1,lr_milestones=none,width=0.0625"


def test_kept_victims_need_a_folder(cli: Cli, honest: Path) -> None:
    cli("score", honest, "--keep-victims").refused(2, "--keep-victims needs a results folder", "-o FOLDER")


@pytest.mark.parametrize("protocol", [HEADS, SCRATCH], ids=["heads", "scratch"])
def test_a_kept_victim_is_shown(cli: Cli, honest: Path, here: Path, protocol: str) -> None:
    kept = ("score", honest, "--trials", "1", "--protocol", protocol, "-o", "r", "-q", "--json")
    (row,) = cli(*kept, "--keep-victims").document()["rows"]
    files = sorted(path.name for path in (here / "r" / "victims").iterdir())
    assert files == [f"{row['job']}-control.safetensors", f"{row['job']}-poisoned.safetensors"]
    shown = cli("show", f"r/victims/{files[0]}", "--json").document()
    said = shown if protocol == HEADS else shown["pretraining"]
    assert (said["role"], said["job"], said["trial"], said["protocol"]) == ("control", row["job"], 1, row["protocol"])
    assert shown["network"] == "convnet"
    for word in ("control", row["job"][:20]):
        assert word in cli("show", f"r/victims/{files[0]}").out
    listed = cli("weights", "list", "r", "--json").document()["weights"]
    assert [one["name"] for one in listed] == [f"r/victims/{name}" for name in files]
    assert {one["network"] for one in listed} == {"convnet"}
    roles = ["the clean images of trial 1 of set", "the poisons of trial 1 of set"]
    assert all(one["trained on"].startswith(role) for one, role in zip(listed, roles, strict=True))
    assert all(("a head on extractor" in one["trained on"]) == (protocol == HEADS) for one in listed)
    assert cli("weights", "list", f"r/victims/{files[1]}", "--json").document()["weights"] == listed[1:]


def test_a_path_without_weights_is_refused_and_a_damaged_file_listed(cli: Cli, here: Path) -> None:
    (here / "empty").mkdir()
    for place in ("empty", "none.safetensors"):
        cli("weights", "list", place).refused(4, place, "--keep-victims")
    (here / "empty" / "bad.safetensors").write_bytes(b"no weights")
    (row,) = cli("weights", "list", "empty", "--json").document()["weights"]
    assert row["problem"]
