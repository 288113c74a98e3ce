"""Runs a script of this folder in its own process, with its own memory and events, and reads what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_script(name: str, scratch: Path) -> dict[str, Any]:
    """The JSON document that a script prints when it runs in, and is given, the folder `scratch`."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), str(scratch)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)},
        cwd=scratch,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document
