"""Run a script of this folder in a process of its own, whose memory and events are its own, and read what it tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def told_by(name: str, scratch: Path) -> dict[str, Any]:
    """The JSON document that the script prints; it is given the folder `scratch`, and runs in it."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), str(scratch)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)},
        cwd=scratch,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told
