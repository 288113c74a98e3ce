"""`poisonsets compare` from scored sets to a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]
OWN = ("--protocol", "digits-transfer/convnet@composition=trial,epochs=2", "--trials", "0-1", "-q")


def test_scored_rows_name_their_set_and_stand_in_one_table(cli: Cli, honest: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    document = cli("score", honest, *OWN, "-o", kept, "--json").document()
    (tmp_path / "score.json").write_text(cli("score", honest, *OWN, "-o", kept, "--resume", "--json").out)
    (row, *_) = document["rows"]
    done = cli("compare", kept, tmp_path / "score.json")
    assert (done.code, done.err) == (0, "")
    assert "one entry, nothing to rank it against" in done.out
    assert "│" not in done.out
    (entry,) = cli("compare", kept, "--json").document()["groups"][0]["entries"]
    assert (entry["attack"], entry["set_name"], entry["epsilon"]) == (row["attack"], row["set_name"], row["epsilon"])
    assert entry["base_digest"] == row["base_digest"] is not None
    assert entry["success_n"] == 2


def test_what_cannot_be_compared_is_one_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("compare", tmp_path)
    assert done.code == 4
    assert "no results folder" in done.err
    assert cli("compare", tmp_path, "--json", "--format", "md").code == 2
