"""Mutants of manifests and shards give an error of ours or the same bytes again. `make fuzz` tries more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).resolve().parent / "fuzz.py"
EACH = 5000


def test_ten_thousand_mutants_end_in_an_error_of_ours_or_are_written_again(tmp_path: Path) -> None:
    counts = ["--manifests", str(EACH), "--shards", str(EACH)]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *counts, "--seed", "0", "--keep", str(tmp_path / "finds"), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["bad"] == []
    assert told["torch"] is False
    assert told["slowest"] < 2
    assert told["grown_mebibytes"] < 128
    ends: dict[str, int] = told["ends"]
    for what in ("manifest", "shard"):
        of_it = {end: count for end, count in ends.items() if end.startswith(what)}
        assert sum(of_it.values()) == EACH
        # Some are accepted, so the claim about those is not empty.
        assert sum(count for end, count in of_it.items() if "verified with 1" in end) > 50
