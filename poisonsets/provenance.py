"""What is recorded of the program and the run: versions in the manifest, times and host in run.json."""

from __future__ import annotations

import platform
import resource
import shutil
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import poisonsets
from poisonsets.manifests.model import Tool

LIBRARIES = ("torch", "torchvision", "numpy", "webdataset", "pillow", "pydantic")


def tool() -> Tool:
    """This program, with the commit where it runs from a checkout."""
    return Tool(name="poisonsets", version=poisonsets.__version__, commit=_commit())


def libraries() -> dict[str, str]:
    """Versions of everything whose release could change a pixel."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


class Stopwatch:
    """Measures a run for `run.json`."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()

    def record(self, *, device: str, workers: int, taken_over: int) -> dict[str, Any]:
        """The run record.

        Args:
            device: where it ran.
            workers: processes that crafted.
            taken_over: trials that an interrupted run had finished before.
        """
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return {
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": f"{time.monotonic() - self._clock:.3f}",
            "host": platform.machine(),
            "system": platform.system(),
            "device": device,
            "workers": workers,
            "peak_memory_kib": max(own, children),
            "trials_taken_over": taken_over,
        }


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
