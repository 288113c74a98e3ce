"""Records of the program and the run: versions for the manifest, times and host for run.json."""

import platform
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import poisonsets
from poisonsets.manifests.records.manifest import Tool
from poisonsets.surrogates import gpu_model


@cache
def tool() -> Tool:
    """This program's version, with the commit if it runs from a checkout; asked once per process."""
    return Tool(name="poisonsets", version=poisonsets.__version__, commit=_commit())


def libraries() -> dict[str, str]:
    """Versions of everything whose release could change a pixel; torch's includes its build."""
    names = ("torchvision", "numpy", "webdataset", "pillow", "pydantic")
    versions = {name: version(name) for name in names}
    return {**versions, "python": platform.python_version(), "torch": torch.__version__}


class Stopwatch:
    """Measures a run for `run.json`."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()

    def record(
        self, *, device: torch.device, workers: int, taken_over: int, refused: Sequence[tuple[int, str]]
    ) -> dict[str, Any]:
        """The run record; `taken_over` counts trials from an interrupted run, `refused` gives numbers and reasons."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return {
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": f"{time.monotonic() - self._clock:.3f}",
            "host": platform.machine(),
            "system": platform.system(),
            "device": device.type,
            "gpu": gpu_model(device),
            "workers": workers,
            "peak_memory_kib": max(own, children),
            "trials_taken_over": taken_over,
            "refused": {str(number): reason[:200] for number, reason in refused},
        }


def _commit() -> str | None:
    """The checkout's commit, with `-dirty` if tracked files differ from it."""
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None

    def ask(*words: str) -> str:
        command = [git, "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    commit = ask("rev-parse", "HEAD")
    dirty = ask("status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if commit and dirty else commit or None
