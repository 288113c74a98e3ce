"""The table of `make bench-device` comes out on any device, here at its smallest size."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from benchmarks import device

pytestmark = pytest.mark.slow


def test_the_table_has_a_rate_for_every_kind_of_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "ROUNDS", 1)
    assert device.main(["--device", "cpu", "--size", "tiny", "-o", str(tmp_path / "table.json")]) == 0
    record = json.loads((tmp_path / "table.json").read_text())
    assert record["torch"] == torch.__version__
    assert record["hardware"]
    kinds = {row["work"].partition(",")[0] for row in record["rows"]}
    assert kinds == {"matrix product", "features", "transfer score", "training from scratch", "gradient-matching step"}
    shown = capsys.readouterr().out
    for row in record["rows"]:
        assert row["work"] in shown
        assert 0 < row["ours"] < math.inf
        assert 0 < row["plain"] < math.inf
