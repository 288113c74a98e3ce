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
